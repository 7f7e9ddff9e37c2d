//! A server of embeddings on this machine: OpenAI's protocol in front of the real model, and what can go wrong on command.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use ragboard::domain::{Embedder, Purpose};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::model::model;

/// What the server does instead of its work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answers with a status, and `Retry-After` if given.
    Status(u16, Option<&'static str>),
    /// Sends the caller elsewhere.
    Redirect(u16),
    /// Breaks off in the middle of a good answer.
    BrokenOff,
    /// Never answers.
    Silent,
    /// Vectors that are one number too short.
    Shortened,
    /// No vector for the last text.
    Incomplete,
    /// Sends without an end.
    Endless,
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
}

/// The server. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct EmbeddingServer {
    pub(crate) port: u16,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl EmbeddingServer {
    pub(crate) async fn start() -> EmbeddingServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = EmbeddingServer { port, faults: Arc::default(), asked: Arc::default() };
        let app = Router::new().route("/v1/embeddings", post(embeddings)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        server
    }

    /// The next requests go wrong in this way, one after the other.
    pub(crate) fn will(&self, faults: &[Fault]) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }
}

async fn embeddings(State(server): State<EmbeddingServer>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    server.asked.lock().unwrap().push(Asked { at: Instant::now(), authorization, body: body.clone() });
    let fault = server.faults.lock().unwrap().pop_front();
    match fault {
        Some(Fault::Status(status, retry_after)) => {
            let error = json!({ "error": { "message": "wrong key sk-secret", "type": "server_says_no" } });
            let mut answer = (StatusCode::from_u16(status).unwrap(), error.to_string()).into_response();
            if let Some(retry_after) = retry_after {
                answer.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            }
            answer
        }
        Some(Fault::Redirect(port)) => {
            let location = format!("http://127.0.0.1:{port}/v1/embeddings");
            (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response()
        }
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Endless) => {
            let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 65536])));
            Body::from_stream(chunks).into_response()
        }
        other => {
            let mut answer = embedded(&body).await;
            let data = answer["data"].as_array_mut().unwrap();
            match other {
                Some(Fault::Shortened) => drop(data[0]["embedding"].as_array_mut().unwrap().pop()),
                Some(Fault::Incomplete) => drop(data.pop()),
                _ => {}
            }
            let text = answer.to_string();
            if matches!(other, Some(Fault::BrokenOff)) {
                let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
                let parts = [Ok(half), Err(std::io::Error::other("broken off"))];
                return Body::from_stream(stream::iter(parts)).into_response();
            }
            ([("content-type", "application/json")], text).into_response()
        }
    }
}

/// The answer, its vectors in another order than the texts and not of unit length, as the protocol allows.
async fn embedded(body: &Value) -> Value {
    let texts: Vec<String> = serde_json::from_value(body["input"].clone()).unwrap();
    let vectors = model().await.embed(&texts, Purpose::Passage).await.unwrap();
    let item = |(index, vector): (usize, Vec<f32>)| {
        let embedding: Vec<f32> = vector.iter().map(|x| x * 3.0).collect();
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let data: Vec<Value> = vectors.into_iter().enumerate().map(item).rev().collect();
    json!({ "object": "list", "data": data, "model": body["model"], "usage": { "prompt_tokens": 1, "total_tokens": 1 } })
}
