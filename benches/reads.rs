//! How long reads take inside the process, one after the other: through the router, against a real PostgreSQL, without a
//! network. For comparing versions on a quiet machine; load from outside, CPU and memory are measured by `bench/`.
//!
//! `cargo bench` runs all, `cargo bench -- folders` those whose name contains a word.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that fails should stop where it does"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    app::{Account, TestApp},
    fixture::{BoardBuilder, folder_tree},
};

const MEASURED: Duration = Duration::from_secs(3);

const BOARD_PAGE: &str = "query ($id: ID!) { board(id: $id) { name version owner { id name } \
    nodes(first: 50) { nodes { __typename id position { x y } size { width height } zIndex isLocked version createdAt updatedAt \
        ... on ResourceNode { resourceType title content url processingStatus language wordCount readingTimeSeconds } \
        ... on ChatNode { model systemPrompt temperature maxTokens responseFormat } ... on FolderNode { name color icon } } } \
    links(first: 100) { nodes { id kind label fromId toId } } } }";
const FOLDERS: &str = "query ($id: ID!) { node(id: $id) { ... on FolderNode { children(first: 20) { nodes { id ... on FolderNode { \
    name children(first: 20) { nodes { id ... on FolderNode { name children(first: 20) { nodes { id } } } } } } } } } } }";
const NODE: &str = "query ($id: ID!) { node(id: $id) { id ... on ResourceNode { title content } } }";

#[derive(Clone, Copy)]
enum Mode {
    /// The same request again: its finished answer is in memory.
    Kept,
    /// A request that was not sent before, of a board in memory.
    Anew,
    /// Past memory.
    Cold,
}

async fn ask(app: &TestApp, who: &Account, document: &str, id: &str, mode: Mode) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let bearer = format!("Bearer {}", who.token);
    let mut headers = vec![("authorization", bearer.as_str())];
    let mut variables = json!({ "id": id });
    match mode {
        Mode::Kept => {}
        Mode::Anew => variables["unused"] = json!(NUMBER.fetch_add(1, Ordering::Relaxed)),
        Mode::Cold => headers.push(("cache-control", "no-cache")),
    }
    let (_, answer) = app.ask(&headers, document, variables).await;
    assert_eq!(answer.get("errors"), None);
    assert_ne!(answer["data"].as_object().and_then(|data| data.values().next()), Some(&Value::Null));
}

async fn measure(app: &TestApp, who: &Account, name: &str, document: &str, id: &str) {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
        return;
    }
    for (mode, title) in [(Mode::Cold, "cold"), (Mode::Anew, "from memory"), (Mode::Kept, "kept answer")] {
        for _ in 0..3 {
            ask(app, who, document, id, mode).await;
            app.app.cached.settled().await;
        }
        let mut times_us = Vec::new();
        let began = Instant::now();
        while began.elapsed() < MEASURED {
            let began = Instant::now();
            ask(app, who, document, id, mode).await;
            times_us.push(began.elapsed().as_secs_f64() * 1e6);
        }
        times_us.sort_by(f64::total_cmp);
        println!("{name:<16} {title:<12} {:>9.0} µs median of {}", times_us[times_us.len() / 2], times_us.len());
    }
}

#[tokio::main]
async fn main() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(100).links(200).make(&app).await;
    measure(&app, &owner, "board page", BOARD_PAGE, &board.id.to_string()).await;
    let (_, root) = folder_tree(&app, owner.id, 20, 3).await;
    measure(&app, &owner, "nested folders", FOLDERS, &root.to_string()).await;
    measure(&app, &owner, "node by id", NODE, &board.nodes[2].to_string()).await;
}
