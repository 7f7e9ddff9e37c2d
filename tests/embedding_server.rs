//! Embeddings from a server: what is sent, what is believed, and what happens when the server cannot.

use std::{sync::Arc, time::Duration};

use ragboard::{
    config::{Config, Sources},
    domain::{Code, Embedder, Error, Purpose},
    ops::embedder,
    outbound::Outbound,
};
use serde_json::json;

use crate::support::{
    embedding_server::{EmbeddingServer, Fault},
    model::{cosine, model},
    program::free_port,
};

/// Opens the embedder by the settings that an operator would write.
async fn client(server: &EmbeddingServer, more: &[(&str, &str)]) -> Arc<dyn Embedder> {
    let (url, allow) = (server.url(), format!("127.0.0.1:{}", server.port));
    let mut variables = vec![
        ("RAGBOARD_SEARCH_EMBEDDER", "http"),
        ("RAGBOARD_SEARCH_URL", &url),
        ("RAGBOARD_OUTBOUND_ALLOW", &allow),
        ("RAGBOARD_SEARCH_MODEL", "some-model"),
        ("RAGBOARD_SEARCH_DIMENSIONS", "384"),
        ("RAGBOARD_SEARCH_API_KEY", "sk-secret"),
        ("RAGBOARD_SEARCH_BATCH", "2"),
        // The real model answers behind it, and does so for other tests, too.
        ("RAGBOARD_SEARCH_TIMEOUT", "120"),
    ];
    variables.extend(more);
    let (embedding, failure) = embedder::open(&Config::load(&Sources::from_variables(variables)).unwrap()).await;
    assert!(failure.is_none());
    embedding.first().unwrap().embedder
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Asks for one vector, which must be the right one.
async fn embed(client: &Arc<dyn Embedder>, purpose: Purpose) -> Result<(), Error> {
    let asked = texts(&["the boat"]);
    let found = client.embed(&asked, purpose).await?.remove(0);
    assert!(cosine(&found, &model().await.embed(&asked, Purpose::Query).await.unwrap()[0]) > 0.999_999);
    Ok(())
}

#[tokio::test]
async fn texts_go_in_batches_and_come_back_in_order() {
    let server = EmbeddingServer::start().await;
    let client = client(&server, &[]).await;
    assert_eq!((client.model(), client.dimensions(), client.max_tokens()), ("some-model", 384, 512));
    let asked = texts(&["one", "two", "three", "four", "five"]);
    let found = client.embed(&asked, Purpose::Passage).await.unwrap();
    for (found, expected) in found.iter().zip(model().await.embed(&asked, Purpose::Passage).await.unwrap()) {
        assert!(cosine(found, &expected) > 0.999_999);
        assert!((found.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert_eq!(found.len(), 5);
    let requests = server.asked();
    assert!(requests.iter().all(|request| request.authorization.as_deref() == Some("Bearer sk-secret")));
    let bodies: Vec<_> = requests.into_iter().map(|request| request.body).collect();
    let body = |input: &[&str]| json!({ "model": "some-model", "input": input, "encoding_format": "float" });
    assert_eq!(bodies, [body(&["one", "two"]), body(&["three", "four"]), body(&["five"])]);
    assert!(client.embed(&[], Purpose::Query).await.unwrap().is_empty());
}

#[tokio::test]
async fn prefixes_and_dimensions_are_sent_when_the_settings_say_so() {
    let server = EmbeddingServer::start().await;
    let client = client(
        &server,
        &[
            ("RAGBOARD_SEARCH_QUERY_PREFIX", "query:"),
            ("RAGBOARD_SEARCH_PASSAGE_PREFIX", "passage:"),
            ("RAGBOARD_SEARCH_ASK_DIMENSIONS", "true"),
        ],
    )
    .await;
    client.embed(&texts(&["x"]), Purpose::Query).await.unwrap();
    client.embed(&texts(&["y"]), Purpose::Passage).await.unwrap();
    let requests = server.asked();
    assert_eq!(requests[0].body["input"], json!(["query: x"]));
    assert_eq!(requests[1].body["input"], json!(["passage: y"]));
    assert_eq!(requests[0].body["dimensions"], json!(384));
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_left_alone() {
    let server = EmbeddingServer::start().await;
    let passages = client(&server, &[]).await;
    server.will(&[Fault::Status(429, Some("1")), Fault::Status(503, None)]);
    embed(&passages, Purpose::Passage).await.unwrap();
    let at: Vec<_> = server.asked().into_iter().map(|asked| asked.at).collect();
    assert_eq!(at.len(), 3);
    assert!(at[1] - at[0] >= Duration::from_millis(990), "the second that it asked for");

    server.will(&[Fault::Status(429, Some("60"))]);
    let queries = client(&server, &[]).await;
    for _ in 0..2 {
        let error = embed(&queries, Purpose::Query).await.unwrap_err();
        assert_eq!(error.code(), Code::Overloaded, "nobody waits a minute for a search");
    }
    assert_eq!(server.asked().len(), 4, "nor is the server asked meanwhile");
}

#[tokio::test]
async fn what_may_work_the_next_time_is_tried_again() {
    let server = EmbeddingServer::start().await;
    let client = client(&server, &[]).await;
    server.will(&[Fault::Status(500, None), Fault::BrokenOff]);
    embed(&client, Purpose::Passage).await.unwrap();
    assert_eq!(server.asked().len(), 3);
    server.will(&[Fault::Status(502, None); 2]);
    // It has trouble of its own: a job is put off, and not given up.
    assert_eq!(embed(&client, Purpose::Query).await.unwrap_err().code(), Code::Overloaded);
    assert_eq!(server.asked().len(), 5, "a query is given up sooner");
    server.will(&[Fault::Status(429, None); 2]);
    assert_eq!(embed(&client, Purpose::Query).await.unwrap_err().code(), Code::Overloaded);
    embed(&client, Purpose::Query).await.unwrap();
}

#[tokio::test]
async fn what_will_not_work_the_next_time_either_is_not_tried_again() {
    let server = EmbeddingServer::start().await;
    let client = client(&server, &[]).await;
    let (elsewhere, mut requests) = (EmbeddingServer::start().await, 0);
    for (fault, why) in [
        (Fault::Status(400, None), "400, server_says_no"),
        (Fault::Status(401, None), "401, server_says_no"),
        (Fault::Redirect(elsewhere.port), "307"),
        (Fault::Shortened, "383 dimensions"),
        (Fault::Incomplete, "0 vectors for 1 texts"),
        (Fault::Endless, "larger than"),
    ] {
        server.will(&[fault]);
        let error = embed(&client, Purpose::Passage).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Internal, "Internal error"), "{fault:?}");
        let cause = error.cause().unwrap().to_string();
        assert!(cause.contains(why) && !format!("{error:?}").contains("sk-secret"), "{fault:?}: {error:?}");
        requests += 1;
        assert_eq!(server.asked().len(), requests, "{fault:?}");
    }
    assert_eq!(elsewhere.asked().len(), 0, "the key goes where the settings say and nowhere else");
    embed(&client, Purpose::Passage).await.unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let server = EmbeddingServer::start().await;
    // Long enough for a request to arrive at all.
    let impatient = client(&server, &[("RAGBOARD_SEARCH_TIMEOUT", "8")]).await;
    server.will(&[Fault::Silent; 2]);
    assert_eq!(embed(&impatient, Purpose::Query).await.unwrap_err().code(), Code::Timeout);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_fault_of_the_caller() {
    let mut server = EmbeddingServer::start().await;
    server.port = free_port();
    let error = embed(&client(&server, &[]).await, Purpose::Query).await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded);
}

#[tokio::test]
async fn nothing_is_sent_to_addresses_that_are_not_named() {
    let server = EmbeddingServer::start().await;
    let strict = Outbound::new(&Config::load(&Sources::from_variables([("A", "")])).unwrap().outbound);
    for url in [server.url(), server.url().replace("http:", "https:"), format!("https://localhost:{}/", server.port)] {
        let sent = strict.post(&url, None, b"{}".to_vec(), 1000, Duration::from_secs(5)).await;
        assert_eq!(sent.unwrap_err().code(), Code::InvalidArgument, "{url}");
    }
    assert_eq!(server.asked().len(), 0);
}
