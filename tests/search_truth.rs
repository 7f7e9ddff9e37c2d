//! What a search says of itself stays true while others write, while models fail, and for those who do not see everything.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures_util::FutureExt;
use ragboard::{
    domain::{Embedder, GenerationState, NodeId, Provider, Purpose, Result, SearchIndex},
    search::models::Models,
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use crate::{
    support::{
        app::TestApp,
        cluster::connect,
        fixture::collaborator,
        library::{Library, TOO_LATE, models, search_board, search_board_once, titles},
        model::model,
        patience::PATIENCE,
        sql::{until, value},
    },
    writes::{done, mutate},
};

/// A model that, when it is told to, says that it was asked a question and answers when it may.
struct Gated {
    model: Arc<dyn Embedder>,
    is_shut: AtomicBool,
    asked: Notify,
    may_answer: Notify,
}

#[async_trait]
impl Embedder for Gated {
    fn model(&self) -> &str {
        self.model.model()
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions()
    }

    fn max_tokens(&self) -> usize {
        self.model.max_tokens()
    }

    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>> {
        if purpose == Purpose::Query && self.is_shut.swap(false, Ordering::Relaxed) {
            self.asked.notify_one();
            self.may_answer.notified().await;
        }
        self.model.embed(texts, purpose).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_during_a_search_makes_it_incomplete() {
    let model = model().await;
    let tokenizer = model.tokenizer();
    let gated =
        Arc::new(Gated { model, is_shut: AtomicBool::new(false), asked: Notify::new(), may_answer: Notify::new() });
    let models = Models::default().with(Provider::Local, gated.clone()).cutting_by(tokenizer);
    let library = Library::with(models, &[]).await;
    assert_eq!(library.search(json!({ "query": "locks" })).await["plan"]["complete"], true);
    let deadline = Instant::now() + PATIENCE;
    for round in 1.. {
        let question = json!({ "query": format!("rows that are locked {round} times") });
        gated.is_shut.store(true, Ordering::Relaxed);
        let searching = search_board_once(&library.app, Some(&library.owner), &library.board, &question);
        let writing = async {
            gated.asked.notified().await;
            library.write("Doors", "A lock keeps a door shut.", json!({})).await;
            library.settle().await;
            gated.may_answer.notify_one();
        };
        let (answer, ()) = tokio::join!(searching, writing);
        let plan = &answer["data"]["board"]["search"]["plan"];
        if plan["note"] == TOO_LATE && Instant::now() < deadline {
            // Writing took longer than a question waits for its vector. Who is let through now is the next one.
            let _ = gated.may_answer.notified().now_or_never();
            continue;
        }
        assert_eq!(
            (&plan["complete"], &plan["note"]),
            (&json!(false), &Value::Null),
            "some of it was asked before, some after: {answer}"
        );
        let found = library.search(question).await;
        assert_eq!((&found["plan"]["complete"], &found["plan"]["scopeRows"]), (&json!(true), &json!(6 + round)));
        break;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_indexed_is_not_forgotten() {
    let library = Library::new().await;
    let deadlocks = "(SELECT node_id FROM resource_nodes WHERE title = 'Deadlocks')";
    let complete = async || library.search(json!({ "query": "locks" })).await["plan"]["complete"].take();
    let sql = &library.app.sql;
    sql.batch_execute(&format!(
        "INSERT INTO processing_jobs (board_id, resource_id, job_type, status, completed_at) \
         SELECT board_id, id, 'extract_text', 'failed', now() - interval '40 days' FROM nodes WHERE id = {deadlocks}; \
         UPDATE indexed_resources SET indexed_at = now() - interval '50 days' WHERE node_id = {deadlocks}"
    ))
    .await
    .unwrap();
    assert_eq!(complete().await, false);
    let failed = "SELECT count(*) FROM processing_jobs WHERE status = 'failed'";
    library.app.app.store.remove_expired().await.unwrap();
    assert_eq!(value(sql, failed).await, "1", "a month later it is still not searchable as it is");
    // Cut again, it is.
    sql.batch_execute(&format!("UPDATE indexed_resources SET indexed_at = now() WHERE node_id = {deadlocks}"))
        .await
        .unwrap();
    assert_eq!(complete().await, true);
    library.app.app.store.remove_expired().await.unwrap();
    assert_eq!(value(sql, failed).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_of_texts_that_they_do_not_see() {
    let library = Library::new().await;
    let (app, board) = (&library.app, &library.board);
    let guest = app.account("guest@example.org").await;
    collaborator(app, board, guest.id, "edit", true).await;
    let input = json!({ "boardId": board.id.to_string(), "name": "Private" });
    let folder = mutate(app, &library.owner, "createFolderNode", "CreateFolderNodeInput", "node { id }", input).await;
    let folder = folder["node"]["id"].as_str().unwrap();
    let hidden = library.write("Secret", "Nobody reads this.", json!({ "place": { "folderId": folder } })).await;
    let document =
        "mutation ($input: SetFolderPasswordInput!) { setFolderPassword(input: $input) { userErrors { __typename } } }";
    let input = json!({ "id": folder, "password": "behind the door" });
    app.data(Some(&library.owner), document, json!({ "input": input })).await;
    library.settle().await;
    let node = hidden.parse::<NodeId>().unwrap().0;
    app.sql
        .batch_execute(&format!(
            "INSERT INTO processing_jobs (board_id, resource_id, job_type, status, completed_at) \
             SELECT board_id, id, 'extract_text', 'failed', now() FROM nodes WHERE id = '{node}'"
        ))
        .await
        .unwrap();
    let complete = async |who, query: &str| {
        search_board(app, Some(who), board, json!({ "query": query })).await["plan"]["complete"].take()
    };
    assert_eq!(complete(&guest, "locks").await, true);
    assert_eq!(complete(&library.owner, "locks").await, false);
    // Nor of what is deleted.
    let input = json!({ "boardId": board.id.to_string(), "nodeIds": [hidden] });
    done(&mutate(app, &library.owner, "deleteNodes", "NodesInput", "nodes { id }", input).await);
    assert_eq!(complete(&library.owner, "locks").await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn relatives_elsewhere_follow_the_text_they_are_like() {
    let library = Library::new().await;
    let (app, owner) = (&library.app, &library.owner);
    let input = json!({ "name": "Elsewhere" });
    let made = mutate(app, owner, "createBoard", "CreateBoardInput", "board { id }", input).await;
    let elsewhere = made["board"]["id"].clone();
    let id = library.write("Changing", "", json!({ "boardId": elsewhere, "content": "Bread with a crust." })).await;
    library.settle().await;
    let document = "query ($id: ID!, $board: ID!) { node(id: $id) { ... on ResourceNode { \
        related(scope: { boardId: $board }, first: 1) { nodes { node { title } } plan { note complete } } } } }";
    let related = async || {
        let variables = json!({ "id": id, "board": library.board.id.to_string() });
        app.data(Some(owner), document, variables).await["node"]["related"].take()
    };
    assert_eq!(related().await["nodes"][0]["node"]["title"], "Sourdough");
    let long = "Bring out the bishop and the queen. Castle early, and fight for the centre. ".repeat(40);
    let input = json!({ "id": id, "content": long });
    done(&mutate(app, owner, "updateResourceNode", "UpdateResourceNodeInput", "node { id }", input).await);
    library.settle().await;
    let now = related().await;
    assert_eq!(now["nodes"][0]["node"]["title"], "Chess openings");
    assert_eq!(now["plan"], json!({ "note": null, "complete": true }));
    // Half a text is not what it is about.
    let (id, half) = (id.parse::<NodeId>().unwrap().0, "chunk_id = (SELECT min(chunk_id::text)::uuid");
    for (which, note) in [
        (format!("{half} FROM embeddings WHERE node_id = '{id}')"), "The resource has not all of its vectors yet"),
        ("true".to_owned(), "The resource has no vectors yet"),
    ] {
        let lost = format!(
            "DELETE FROM embeddings WHERE node_id = '{id}' AND {which}; UPDATE search_versions SET version = version + 1"
        );
        app.sql.batch_execute(&lost).await.unwrap();
        assert_eq!(related().await["plan"], json!({ "note": note, "complete": false }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_that_were_given_up_are_asked_for_at_the_next_start() {
    let library = Library::new().await;
    let sql = &library.app.sql;
    sql.batch_execute("DELETE FROM embeddings WHERE chunk_id = (SELECT min(chunk_id::text)::uuid FROM embeddings)")
        .await
        .unwrap();
    library.app.app.indexing.ask_for_missing().await;
    until(sql, "SELECT count(*) = 6 FROM embeddings").await;
    library.settle().await;
    assert_eq!(library.app.app.store.ask_for_missing().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_can_be_indexed_too() {
    let library = Library::new().await;
    let letters = || 'a'..='z';
    let words: Vec<String> = letters()
        .flat_map(|a| letters().flat_map(move |b| (0..5).map(move |number| format!("{a}{b}{number}"))))
        .collect();
    library.write("Odd", &words.join("\u{1}"), json!({})).await;
    library.settle().await;
    assert_eq!(library.search(json!({ "query": "locks" })).await["plan"]["complete"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_a_vector_does_not_matter() {
    let library = Library::new().await;
    let question = "how do I make a loaf of bread".to_owned();
    let vector = model().await.embed(&[question], Purpose::Query).await.unwrap().remove(0);
    let search = async |factor: f32| {
        let vector: Vec<f32> = vector.iter().map(|value| value * factor).collect();
        let found = library.search(json!({ "vector": vector })).await;
        (titles(&found), found["edges"][0]["node"]["score"].as_f64().unwrap())
    };
    let (found, score) = search(1.0).await;
    assert_eq!(found[0], "Sourdough");
    for factor in [1e-30, 1e30] {
        let (same, near) = search(factor).await;
        assert_eq!(same, found);
        assert!((near - score).abs() < 1e-5, "{near} and {score}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_lets_searches_pass_that_take_long() {
    let app = TestApp::asking(models().await, crate::support::app::new_database().await, &[]).await;
    app.app.prepare_search().await.unwrap();
    let (slow, quick) = (connect(&app.url).await, connect(&app.url).await);
    slow.batch_execute("BEGIN; SELECT count(*) FROM embeddings").await.unwrap();
    let store = app.app.store.clone();
    let making = tokio::spawn(async move { store.begin_generation(Provider::Http, "other", 128, None).await });
    // As soon as it waits, others do; but it gives up and tries again.
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'embeddings'::regclass \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&app.sql, waits).await;
    quick.batch_execute("SET statement_timeout = '60s'; SELECT count(*) FROM embeddings").await.unwrap();
    assert!(!making.is_finished());
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(making.await.unwrap().unwrap().state, GenerationState::Building);
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_cost_what_they_cost() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let search = "search(input: { query: \"locks\" }, first: 1) { nodes { score } }";
    let document = |boards: usize| format!("{{ boards(first: {boards}) {{ nodes {{ {search} }} }} }}");
    app.data(Some(&owner), &document(100), Value::Null).await;
    let aliased = format!("{{ boards(first: 100) {{ nodes {{ {search} again: {search} more: {search} }} }} }}");
    assert_eq!(app.code(Some(&owner), &aliased, Value::Null).await, "COST_EXCEEDED");
}
