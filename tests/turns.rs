//! One caller does not stop the others: whoever asks for very much waits for itself. What an innocent reader waits for is
//! counted, or shown by what cannot happen meanwhile.

use std::time::Duration;

use futures_util::{
    SinkExt, StreamExt,
    future::{join, join_all},
    stream::FuturesUnordered,
};
use ragboard::domain::BoardId;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_postgres::Client;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    app::{Account, TestApp, new_database},
    cluster::connect,
    fixture::{BoardBuilder, share},
    patience::PATIENCE,
    program,
    socket::{Socket, start},
    sql::{until, waiting},
};

/// Waits for the lock of the test.
const STUCK: &str = "query ($id: ID!) { board(id: $id) { id eventCount: events(first: 1) { totalCount } } }";
const READ: &str = "query ($id: ID!) { board(id: $id) { name } }";
const LOCK: &str = "BEGIN; LOCK TABLE board_events IN ACCESS EXCLUSIVE MODE";
const PAST_MEMORY: (&str, &str) = ("cache-control", "no-cache");

fn id(board: BoardId) -> Value {
    json!({ "id": board.to_string() })
}

async fn ask(app: &TestApp, who: &Account, document: &str, board: BoardId) -> Value {
    let bearer = format!("Bearer {}", who.token);
    app.ask(&[("authorization", &bearer), PAST_MEMORY], document, id(board)).await.1
}

async fn until_waiting(admin: &Client, count: usize) {
    until(
        admin,
        &format!(
            "SELECT count(*) = {count} FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'ragboard' AND wait_event_type = 'Lock'"
        ),
    )
    .await;
}

/// A pool of three, a caller who holds its share of it with a hundred operations, and another who reads.
async fn reads_beside_a_hundred(at_once: &str) {
    let settings = [
        ("DATABASE_POOL_SIZE", "3"),
        ("DATABASE_MAX_OVERFLOW", "0"),
        ("RAGBOARD_MAX_OPERATIONS_PER_CALLER", at_once),
        ("RAGBOARD_REQUEST_TIMEOUT", "300"),
        ("DATABASE_POOL_TIMEOUT", "300"),
        ("DATABASE_STATEMENT_TIMEOUT", "300"),
    ];
    let app = TestApp::with(&settings).await;
    let (greedy, reader) = (app.account("greedy@example.org").await, app.account("reader@example.org").await);
    let stuck = BoardBuilder::new(greedy.id, "Stuck").make(&app).await;
    let read = BoardBuilder::new(reader.id, "Read").make(&app).await;
    let (admin, locker) = (connect(&app.url).await, connect(&app.url).await);
    locker.batch_execute(LOCK).await.unwrap();
    let hundred = join_all((0..100).map(|_| ask(&app, &greedy, STUCK, stuck.id)));
    let innocent = async {
        until_waiting(&admin, 2).await;
        for _ in 0..20 {
            let answer = ask(&app, &reader, READ, read.id).await;
            assert_eq!(answer["data"]["board"]["name"], "Read", "{answer}");
        }
        // All that was answered while nothing was released.
        until_waiting(&admin, 2).await;
        locker.batch_execute("COMMIT").await.unwrap();
    };
    let (answers, ()) = join(hundred, innocent).await;
    assert!(answers.iter().all(|answer| answer.get("errors").is_none()), "{answers:?}");
}

#[tokio::test]
async fn a_hundred_stuck_operations_of_one_caller_do_not_hold_up_another() {
    reads_beside_a_hundred("8").await;
}

#[tokio::test]
async fn connections_are_shared_between_callers_whatever_their_operations_may() {
    reads_beside_a_hundred("100").await;
}

#[tokio::test]
async fn what_waits_of_one_caller_is_bounded() {
    let settings = [("RAGBOARD_MAX_OPERATIONS_PER_CALLER", "1"), ("RAGBOARD_MAX_WAITING_PER_CALLER", "1")];
    let app = TestApp::with(&settings).await;
    let (greedy, reader) = (app.account("greedy@example.org").await, app.account("reader@example.org").await);
    let board = BoardBuilder::new(greedy.id, "Stuck").make(&app).await;
    let locker = connect(&app.url).await;
    locker.batch_execute(LOCK).await.unwrap();
    let mut asked: FuturesUnordered<_> = (0..3).map(|_| ask(&app, &greedy, STUCK, board.id)).collect();
    // One runs, one waits; the third is told.
    let refused = asked.next().await.unwrap();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{refused}");
    let other = ask(&app, &reader, READ, board.id).await;
    assert_eq!(other, json!({ "data": { "board": null } }));
    locker.batch_execute("COMMIT").await.unwrap();
    let answers: Vec<Value> = asked.collect().await;
    assert!(answers.iter().all(|answer| answer.get("errors").is_none()), "{answers:?}");
}

async fn ask_by_link(app: &TestApp, token: &str, board: BoardId) -> Value {
    app.ask(&[("x-share-token", token), PAST_MEMORY], STUCK, id(board)).await.1
}

#[tokio::test]
async fn guests_at_one_address_are_one_caller_whatever_links_they_hold() {
    let settings = [("RAGBOARD_MAX_OPERATIONS_PER_CALLER", "1"), ("RAGBOARD_MAX_WAITING_PER_CALLER", "1")];
    let app = TestApp::with(&settings).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Stuck").make(&app).await;
    let tokens = ["a first token", "a second token", "a third token"];
    for token in tokens {
        share(&app, &board, owner.id, token, &[]).await;
    }
    let locker = connect(&app.url).await;
    locker.batch_execute(LOCK).await.unwrap();
    let mut asked: FuturesUnordered<_> = tokens.iter().map(|token| ask_by_link(&app, token, board.id)).collect();
    // One runs, one waits; the third is told.
    let refused = tokio::time::timeout(PATIENCE, asked.next()).await.expect("each link is a caller").unwrap();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{refused}");
    locker.batch_execute("COMMIT").await.unwrap();
    let answers: Vec<Value> = asked.collect().await;
    assert!(answers.iter().all(|answer| answer.get("errors").is_none()), "{answers:?}");
}

/// Says so much on a socket that nobody reads that the server can say nothing more, and hears nothing more, either.
async fn fill(socket: &mut Socket) {
    let ping = Message::text(json!({ "type": "ping", "payload": "x".repeat(900) }).to_string());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Ok(sent) = tokio::time::timeout(Duration::from_secs(1), socket.0.send(ping.clone())).await {
        sent.unwrap();
        assert!(tokio::time::Instant::now() < deadline, "the server reads on and on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_on_a_socket_is_done_though_nobody_reads_it() {
    let settings = [("DATABASE_POOL_TIMEOUT", "300"), ("RAGBOARD_REQUEST_TIMEOUT", "300")];
    let app = TestApp::with(&settings).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Before").make(&app).await;
    let address = app.listen().await;
    let (admin, locker) = (connect(&app.url).await, connect(&app.url).await);
    let lock = format!("BEGIN; SELECT id FROM boards WHERE id = '{}' FOR UPDATE", board.id.0);
    locker.batch_execute(&lock).await.unwrap();
    // A window this small is full soon.
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let mut socket = Socket::silent(small.connect(address).await.unwrap(), &[]).await.unwrap();
    let credentials = json!({ "Authorization": format!("Bearer {}", owner.token) });
    socket.send(json!({ "type": "connection_init", "payload": credentials })).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    let rename = "mutation ($id: ID!) { updateBoard(input: { id: $id, name: \"After\" }) { userErrors { message } } }";
    let payload = json!({ "query": rename, "variables": id(board.id) });
    socket.send(json!({ "id": "rename", "type": "subscribe", "payload": payload })).await;
    until(&admin, &waiting(1)).await;
    fill(&mut socket).await;
    locker.batch_execute("COMMIT").await.unwrap();
    // Had it stopped halfway, it would be given up with the socket.
    until(&admin, &format!("SELECT name = 'After' FROM boards WHERE id = '{}'", board.id.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_on_sockets_and_streams_has_its_time() {
    let settings =
        [("RAGBOARD_REQUEST_TIMEOUT", "1"), ("DATABASE_STATEMENT_TIMEOUT", "300"), ("DATABASE_POOL_TIMEOUT", "300")];
    let app = TestApp::with(&settings).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Stuck").make(&app).await;
    let address = app.listen().await;
    let locker = connect(&app.url).await;
    locker.batch_execute(LOCK).await.unwrap();
    let payload = json!({ "query": STUCK, "variables": id(board.id) });
    let mut socket = Socket::of(address, &owner).await;
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
    let answer = socket.next().await;
    assert_eq!(answer["payload"]["errors"][0]["extensions"]["code"], "TIMEOUT", "{answer}");
    assert_eq!(socket.next().await, json!({ "id": "1", "type": "complete" }));
    let request = program::client()
        .post(format!("http://{address}/graphql"))
        .header("authorization", format!("Bearer {}", owner.token))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    let told = async { request.body(payload.to_string()).send().await.unwrap().text().await.unwrap() };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("it never ends");
    assert!(told.contains("\"TIMEOUT\"") && told.contains("event: complete"), "{told}");
}

#[tokio::test]
async fn who_follows_needs_no_turn() {
    let app = TestApp::with(&[("RAGBOARD_MAX_OPERATIONS_PER_CALLER", "1")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Followed").make(&app).await;
    let mut socket = Socket::of(app.listen().await, &owner).await;
    for number in 0..20 {
        socket.follow(&format!("follow {number}"), &board, start(&board)).await;
    }
    let rename =
        "mutation ($id: ID!) { updateBoard(input: { id: $id, name: \"Renamed\" }) { userErrors { message } } }";
    let payload = json!({ "query": rename, "variables": id(board.id) });
    socket.send(json!({ "id": "rename", "type": "subscribe", "payload": payload })).await;
    let (mut heard, mut renamed) = (0, false);
    while heard < 20 || !renamed {
        let message = socket.next().await;
        match (message["type"].as_str(), message["id"].as_str()) {
            (Some("next"), Some("rename")) => renamed = true,
            (Some("next"), _) => {
                assert_eq!(message["payload"]["data"]["boardEvents"]["__typename"], "BoardChanged", "{message}");
                heard += 1;
            }
            (Some("complete"), Some("rename")) => {}
            _ => panic!("{message}"),
        }
    }
}

#[tokio::test]
async fn no_operation_needs_a_second_connection_while_it_has_one() {
    let settings = [("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0"), ("DATABASE_POOL_TIMEOUT", "60")];
    let app = TestApp::with(&settings).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Narrow").nodes(20).links(5).make(&app).await;
    let variables =
        json!({ "id": board.id.to_string(), "folder": board.nodes[0].to_string(), "node": board.nodes[2].to_string() });
    for document in [
        "query ($id: ID!) { board(id: $id) { name stats { nodeCount } events(first: 5) { totalCount } activity(first: 5) { totalCount } \
         shares { id } collaborators { invitedAt } jobs(first: 5) { totalCount } nodes(first: 5) { nodes { id } } } }",
        "query ($id: ID!) { board(id: $id) { search(input: { query: \"content\", mode: KEYWORD }) { nodes { score } } } }",
        "mutation ($id: ID!) { updateBoard(input: { id: $id, name: \"Other\" }) { userErrors { message } } }",
        "mutation ($folder: ID!) { setFolderPassword(input: { id: $folder, password: \"open sesame\" }) { userErrors { message } } }",
        "mutation ($id: ID!, $node: ID!) { deleteNodes(input: { boardId: $id, nodeIds: [$node] }) { userErrors { message } } }",
        "mutation ($id: ID!, $node: ID!) { restoreNodes(input: { boardId: $id, nodeIds: [$node] }) { userErrors { message } } }",
        "mutation ($id: ID!) { duplicateBoard(input: { id: $id, name: \"Copy\" }) { userErrors { message } } }",
        "mutation ($id: ID!) { shareBoard(input: { boardId: $id }) { userErrors { message } } }",
        "mutation ($id: ID!) { deleteBoard(input: { id: $id }) { userErrors { message } } }",
        "mutation ($id: ID!) { restoreBoard(input: { id: $id }) { userErrors { message } } }",
    ] {
        let answer = app.answer(Some(&owner), document, variables.clone()).await;
        assert_eq!(answer.get("errors"), None, "{document}: {answer}");
        assert!(!answer.to_string().contains("message"), "{document}: {answer}");
    }
}

/// Sends a request and hangs up when told to.
async fn hang_up_when(address: std::net::SocketAddr, who: &Account, body: String) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncache-control: no-cache\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        who.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn statements_end_with_those_who_asked_for_them() {
    let settings = [
        ("DATABASE_POOL_SIZE", "3"),
        ("DATABASE_MAX_OVERFLOW", "3"),
        ("DATABASE_POOL_TIMEOUT", "300"),
        ("DATABASE_STATEMENT_TIMEOUT", "300"),
        ("RAGBOARD_REQUEST_TIMEOUT", "300"),
    ];
    let app = TestApp::on(new_database().await, &settings).await;
    let mut people = Vec::new();
    for number in 0..10 {
        people.push(app.account(&format!("person{number}@example.org")).await);
    }
    let board = BoardBuilder::new(people[0].id, "Public").public().make(&app).await;
    let address = app.listen().await;
    let (admin, locker) = (connect(&app.url).await, connect(&app.url).await);
    locker.batch_execute(LOCK).await.unwrap();
    let body = json!({ "query": STUCK, "variables": id(board.id) }).to_string();
    let at_most = "SELECT count(*) <= 7 FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'ragboard' AND state <> 'idle'";
    for _ in 0..3 {
        let mut requests = Vec::new();
        for person in people.iter().cycle().take(30) {
            requests.push(hang_up_when(address, person, body.clone()).await);
        }
        until_waiting(&admin, 6).await;
        assert!(admin.query_one(at_most, &[]).await.unwrap().get::<_, bool>(0));
        drop(requests);
        // The lock is held still: what does not wait for it any more was cancelled.
        until_waiting(&admin, 0).await;
        let backends = "SELECT count(*) <= 7 FROM pg_stat_activity WHERE datname = current_database() \
                        AND application_name = 'ragboard'";
        until(&admin, backends).await;
    }
    locker.batch_execute("COMMIT").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), ask(&app, &people[1], STUCK, board.id)).await.unwrap();
    assert_eq!(answer.get("errors"), None, "{answer}");
}

#[tokio::test]
async fn writers_of_a_board_that_is_locked_wait_without_connections() {
    let settings = [
        ("DATABASE_POOL_SIZE", "2"),
        ("DATABASE_MAX_OVERFLOW", "0"),
        ("DATABASE_POOL_TIMEOUT", "60"),
        ("RAGBOARD_MAX_OPERATIONS_PER_CALLER", "100"),
        ("RAGBOARD_REQUEST_TIMEOUT", "300"),
    ];
    let app = TestApp::with(&settings).await;
    let owner = app.account("owner@example.org").await;
    let locked = BoardBuilder::new(owner.id, "Locked").make(&app).await;
    let other = BoardBuilder::new(owner.id, "Other").make(&app).await;
    let locker = connect(&app.url).await;
    let lock = format!("BEGIN; SELECT id FROM boards WHERE id = '{}' FOR UPDATE", locked.id.0);
    locker.batch_execute(&lock).await.unwrap();
    let rename = "mutation ($id: ID!) { updateBoard(input: { id: $id, description: \"new\" }) { board { id } userErrors { message } } }";
    let writers = join_all((0..30).map(|_| app.answer(Some(&owner), rename, id(locked.id))));
    let others = async {
        for _ in 0..5 {
            let read = ask(&app, &owner, READ, other.id).await;
            assert_eq!(read["data"]["board"]["name"], "Other", "{read}");
            let written = app.answer(Some(&owner), rename, id(other.id)).await;
            assert_eq!(written["data"]["updateBoard"]["userErrors"], json!([]), "{written}");
        }
    };
    let (answers, ()) = join(writers, others).await;
    for answer in answers {
        assert_eq!(answer["errors"][0]["extensions"]["code"], "OVERLOADED", "{answer}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().starts_with("The board is busy"), "{answer}");
    }
    locker.batch_execute("COMMIT").await.unwrap();
    let written = app.answer(Some(&owner), rename, id(locked.id)).await;
    assert_eq!(written["data"]["updateBoard"]["userErrors"], json!([]), "{written}");
}
