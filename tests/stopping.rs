//! How the program stops: what runs is answered, what has arrived by half holds nothing up, and the database goes last.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use ragboard::ops::local_pg::LocalPg;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::Client;

use crate::support::{
    cluster::{TestFolder, connect},
    program::{self, Server},
};

const DEADLINE: Duration = Duration::from_secs(60);
/// Longer than any test waits: what ends before has not waited for it.
const FOR_EVER: &str = "3600";

async fn start(data: &Path, drain: &str) -> Server {
    let variables = [
        ("RAGBOARD_DRAIN", drain),
        ("RAGBOARD_SEARCH_EMBEDDER", "none"),
        // Nothing that waits for a lock of the test gives up by itself.
        ("DATABASE_POOL_TIMEOUT", "300"),
        ("RAGBOARD_REQUEST_TIMEOUT", "300"),
    ];
    Server::start_with(data, &[], &variables).await
}

/// A connection to the own PostgreSQL of a server.
async fn database(data: &Path) -> Client {
    connect(&LocalPg::attach(data).await.unwrap().unwrap().url("ragboard")).await
}

/// Waits until this many sessions of the gateway wait for a lock.
async fn waiting(sql: &Client, count: i64) {
    let deadline = Instant::now() + DEADLINE;
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sql.query_one(query, &[]).await.unwrap().get::<_, i64>(0) < count {
        assert!(Instant::now() < deadline, "nobody ever waited for the lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn logged(server: &Server, words: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !server.log().contains(words) {
        assert!(Instant::now() < deadline, "never logged {words:?}: {}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks in the background; the answer, or `None` when the connection ended without one.
fn ask(server: &Server, token: &str, document: String, variables: Value) -> tokio::task::JoinHandle<Option<Value>> {
    let request = program::client()
        .post(server.url("/graphql"))
        .header("authorization", format!("Bearer {}", token.trim()))
        .header("content-type", "application/json")
        .body(json!({ "query": document, "variables": variables }).to_string());
    tokio::spawn(async move {
        let text = request.send().await.ok()?.text().await.ok()?;
        Some(serde_json::from_str(&text).unwrap())
    })
}

fn rename(server: &Server, token: &str, board: &str, name: &str) -> tokio::task::JoinHandle<Option<Value>> {
    let document = "mutation ($input: UpdateBoardInput!) { updateBoard(input: $input) { board { name version } } }";
    ask(server, token, document.into(), json!({ "input": { "id": board, "name": name } }))
}

/// The identifier and version of the first board.
async fn first_board(server: &Server, token: &str) -> (String, i64) {
    let answer = server.ask(token, "{ boards(first: 1) { nodes { id version } } }").await;
    let board = &answer["data"]["boards"]["nodes"][0];
    (board["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned(), board["version"].as_i64().unwrap())
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn running_requests_are_answered_and_halves_of_requests_hold_nothing_up() {
    let folder = TestFolder::new("stopping");
    let data = folder.path().join("data");
    let mut server = start(&data, FOR_EVER).await;
    let token = program::result(&data, &["token", "demo@ragboard.example"]);
    let (board, version) = first_board(&server, &token).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    let mut halves = Vec::new();
    for half in [
        "",
        "GET /live",
        "GET /livez HTTP/1.1\r\nhost: x\r\n",
        "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"query\":",
    ] {
        halves.push(send(address, half).await);
    }

    let mut sql = database(&data).await;
    let lock = sql.transaction().await.unwrap();
    lock.execute("SELECT FROM boards FOR UPDATE", &[]).await.unwrap();
    let write = rename(&server, &token, &board, "Renamed while stopping");
    let other = connect(&LocalPg::attach(&data).await.unwrap().unwrap().url("ragboard")).await;
    waiting(&other, 1).await;
    drop(other);
    let document = "query ($id: ID!, $version: Int!) { board(id: $id, minVersion: $version) { name version } }";
    let read = ask(&server, &token, document.into(), json!({ "id": board, "version": version + 1 }));

    server.signal(Signal::TERM);
    logged(&server, "Stopping on SIGTERM").await;
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "connections are still accepted");
    }
    for half in &mut halves {
        // Closed while requests still run.
        let _ = tokio::time::timeout(DEADLINE, half.read(&mut [0; 1])).await.expect("half a request is kept");
    }
    assert!(!write.is_finished(), "it waits for the lock");
    lock.rollback().await.unwrap();
    let written = write.await.unwrap().expect("the write is answered");
    assert_eq!(written["data"]["updateBoard"]["board"]["name"], "Renamed while stopping", "{written}");
    // It was sent a moment before the stop: if it had arrived, it is answered, even if it had waited for long enough by then.
    if let Some(read) = read.await.unwrap() {
        let code = &read["errors"][0]["extensions"]["code"];
        assert!(read["data"]["board"]["name"] == "Renamed while stopping" || code == "TIMEOUT", "{read}");
    }
    drop(sql);
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    assert!(!server.log().contains("cut off"), "{}", server.log());

    let server = start(&data, "0").await;
    let answer = server.ask(&token, &format!("{{ board(id: \"{board}\") {{ name version }} }}")).await;
    let stored = &written["data"]["updateBoard"]["board"];
    assert_eq!(&answer["data"]["board"], stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_cut_off_and_not_done_by_half() {
    let folder = TestFolder::new("stopping");
    let data = folder.path().join("data");
    // After the time of the setting, and at a second signal.
    for drain in ["0.2", FOR_EVER] {
        let mut server = start(&data, drain).await;
        let token = program::result(&data, &["token", "demo@ragboard.example"]);
        let (board, _) = first_board(&server, &token).await;
        let mut sql = database(&data).await;
        let other = database(&data).await;
        let lock = sql.transaction().await.unwrap();
        lock.execute("SELECT FROM boards FOR UPDATE", &[]).await.unwrap();
        let write = rename(&server, &token, &board, "Never confirmed");
        waiting(&other, 1).await;
        server.signal(Signal::TERM);
        if drain == FOR_EVER {
            logged(&server, "Stopping on SIGTERM").await;
            server.signal(Signal::INT);
        }
        assert_eq!(write.await.unwrap(), None, "it was answered, but never done");
        assert_eq!(server.ended().await, Some(0), "{}", server.log());
        let server = start(&data, "0").await;
        let answer = server.ask(&token, &format!("{{ board(id: \"{board}\") {{ name }} }}")).await;
        assert_ne!(answer["data"]["board"]["name"], "Never confirmed", "{answer}");
    }
}
