//! Storms: many subscribers, a full pool, a database that pauses, connections that nobody answers. Nobody polls, no right outlives
//! its end, nobody is deaf afterwards, and memory serves meanwhile.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    follow::{create, setup},
    support::{
        app::{Account, TestApp, new_database},
        cluster::connect,
        fixture::{Board, BoardBuilder, collaborator},
        proxy::Proxy,
        socket::{Socket, start},
    },
};

const NAME: &str = "query ($id: ID!) { board(id: $id) { name nodes(first: 1) { totalCount } } }";
/// What runs whether or not anybody follows, or once for all who do.
const FOR_ALL: [&str; 8] = [
    "stamps.moved",
    "sessions.ended",
    "events.after",
    "jobs.changes",
    "presence.read",
    "read_only",
    "activity.write",
    "usage.add",
];

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn count(app: &TestApp, statement: &str) -> u64 {
    app.app.store.statements().get(statement).map_or(0, |totals| totals.count)
}

/// Statements since `before`, without those for all.
fn of_somebody(app: &TestApp, before: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    app.statements_since(before).into_iter().filter(|name| !FOR_ALL.contains(name)).collect()
}

/// So many sockets, each with one subscription to a board.
async fn sockets(address: SocketAddr, who: &[Account], board: &Board, number: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for account in who.iter().cycle().take(number) {
        let mut socket = Socket::of(address, account).await;
        socket.follow("1", board, start(board)).await;
        sockets.push(socket);
    }
    sockets
}

/// Changes a board, and waits until all hear it.
async fn heard_by_all(app: &TestApp, owner: &Account, board: &Board, sockets: &mut [Socket], name: &str) {
    create(app, owner, board, name).await;
    for socket in sockets {
        while socket.event().await["clientMutationId"] != name {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_subscribers_ask_nothing() {
    let (app, owner, board, address) = setup().await;
    let guest = app.account("guest@example.org").await;
    collaborator(&app, &board, guest.id, "view", true).await;
    let mut sockets = sockets(address, &[owner.clone(), guest.clone()], &board, 40).await;
    heard_by_all(&app, &owner, &board, &mut sockets, "all").await;
    let (before, looks, readings) = (app.statements(), count(&app, "stamps.moved"), count(&app, "events.after"));
    until("four looks", async || count(&app, "stamps.moved") >= looks + 4).await;
    assert_eq!(of_somebody(&app, &before), Vec::<&str>::new());
    // The log is read once a second for all of them, and looked at twice.
    let (looks, readings) = (count(&app, "stamps.moved") - looks, count(&app, "events.after") - readings);
    assert!(readings <= looks, "{readings} readings, {looks} looks");
    // They are subscribers still, and a right that is lost is noticed without anybody asking for it.
    app.sql.execute("DELETE FROM board_collaborators", &[]).await.unwrap();
    for socket in sockets.iter_mut().skip(1).step_by(2) {
        let last = socket.next().await;
        assert_eq!(last["payload"]["errors"][0]["extensions"]["code"], "INVALID_ARGUMENT", "{last}");
    }
    let mut left: Vec<Socket> = sockets.into_iter().step_by(2).collect();
    heard_by_all(&app, &owner, &board, &mut left, "those who may").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_pause_of_the_database_nobody_storms_it() {
    let url = new_database().await;
    let (way, along) = Proxy::to_database(&url).await;
    let (app, other) = (TestApp::on(along, &[]).await, TestApp::on(url, &[]).await);
    let owner = other.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&other).await;
    let mut accounts = vec![owner.clone()];
    for number in 0..10 {
        let account = other.account(&format!("guest-{number}@example.org")).await;
        collaborator(&other, &board, account.id, "view", true).await;
        accounts.push(account);
    }
    let address = app.listen().await;
    let mut sockets = sockets(address, &accounts, &board, 44).await;
    heard_by_all(&other, &owner, &board, &mut sockets, "before").await;
    let before = app.statements();
    way.pause();
    // As long as the pause that was reported.
    tokio::time::sleep(Duration::from_secs(3)).await;
    create(&other, &owner, &board, "meanwhile").await;
    way.resume();
    for socket in &mut sockets {
        assert_eq!(socket.event().await["clientMutationId"], "meanwhile");
    }
    // What all of them need is read once for all, or by each account at most once; that is far from once for each of 44.
    let ran = of_somebody(&app, &before);
    for statement in ["boards.by_id", "users.by_id"] {
        let times = ran.iter().filter(|name| **name == statement).count();
        assert!(times <= 2 * accounts.len(), "{statement} ran {times} times: {ran:?}");
    }
    let looks = count(&app, "stamps.moved");
    until("memory is current again", async || count(&app, "stamps.moved") > looks + 1).await;
    let before = app.statements();
    let looks = count(&app, "stamps.moved");
    until("four more looks", async || count(&app, "stamps.moved") >= looks + 4).await;
    assert_eq!(of_somebody(&app, &before), Vec::<&str>::new(), "the storm goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_wait_for_a_lock_do_not_stop_reads_from_memory() {
    let app = std::sync::Arc::new(TestApp::with(&[("DATABASE_MAX_OVERFLOW", "2")]).await);
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Read").nodes(3).make(&app).await;
    let locked = BoardBuilder::new(owner.id, "Locked").nodes(3).make(&app).await;
    let id = json!({ "id": board.id.to_string() });
    for _ in 0..2 {
        app.data(Some(&owner), NAME, id.clone()).await;
        app.app.cached.settled().await;
    }
    let mut writing = vec![owner.clone()];
    for number in 0..5 {
        let editor = app.account(&format!("editor-{number}@example.org")).await;
        collaborator(&app, &locked, editor.id, "edit", true).await;
        writing.push(editor);
    }
    let admin = connect(&app.url).await;
    let lock = format!("BEGIN; SELECT 1 FROM boards WHERE id = '{}' FOR UPDATE", locked.id.0);
    app.sql.batch_execute(&lock).await.unwrap();
    let document =
        "mutation ($input: CreateFolderNodeInput!) { createFolderNode(input: $input) { userErrors { message } } }";
    let writers: Vec<_> = (0..60)
        .map(|number| {
            let (app, writer) = (std::sync::Arc::clone(&app), writing[number % writing.len()].clone());
            let input = json!({ "boardId": locked.id.to_string(), "name": number.to_string() });
            tokio::spawn(async move { app.answer(Some(&writer), document, json!({ "input": input })).await })
        })
        .collect();
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // One of them waits in the database, for a moment at a time; the others wait for it without a connection.
    until("a writer waits", async || admin.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) >= 1).await;
    // Longer than memory is served without a look.
    for _ in 0..4 {
        let looks = count(&app, "stamps.moved");
        until("a look", async || count(&app, "stamps.moved") > looks).await;
        let before = app.statements();
        let answer = app.data(Some(&owner), NAME, id.clone()).await;
        assert_eq!(answer["board"]["name"], "Read");
        assert_eq!(app.statements_since(&before).iter().filter(|name| name.starts_with("boards.")).count(), 0);
    }
    app.sql.batch_execute("ROLLBACK").await.unwrap();
    for writer in writers {
        let answer = writer.await.unwrap();
        let is_done = answer["data"]["createFolderNode"]["userErrors"] == json!([]);
        let codes = ["OVERLOADED", "TIMEOUT", "RATE_LIMITED"].map(Value::from);
        assert!(is_done || codes.contains(&answer["errors"][0]["extensions"]["code"]), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_answers_makes_nobody_deaf() {
    let url = new_database().await;
    let (way, along) = Proxy::to_database(&url).await;
    let (app, other) = (TestApp::on(along, &[]).await, TestApp::on(url, &[]).await);
    let owner = other.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&other).await;
    let address = app.listen().await;
    let mut events = sockets(address, std::slice::from_ref(&owner), &board, 2).await;
    heard_by_all(&other, &owner, &board, &mut events, "before").await;
    let mut people = Socket::of(address, &owner).await;
    let query = format!("subscription {{ presence(boardId: \"{}\") {{ user {{ id }} cursor {{ x }} }} }}", board.id);
    people.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })).await;
    until("presence is read", async || count(&app, "presence.read") > 0).await;
    for round in 1..=2 {
        let looks = count(&app, "stamps.moved");
        way.hold(&["ragboard looks", "ragboard feed", "ragboard followers", "ragboard presence", "ragboard wake"]);
        let name = format!("round {round}");
        heard_by_all(&other, &owner, &board, &mut events, &name).await;
        until("memory is looked at again", async || count(&app, "stamps.moved") > looks + 3).await;
        let show = "mutation ($input: SetPresenceInput!) { setPresence(input: $input) { userErrors { message } } }";
        let input = json!({ "boardId": board.id.to_string(), "clientId": "window", "cursor": { "x": round, "y": 0 } });
        other.data(Some(&owner), show, json!({ "input": input })).await;
        while people.next().await["payload"]["data"]["presence"]["cursor"]["x"] != f64::from(round) {}
        // Who begins to follow now reads the log first.
        let mut late = sockets(address, std::slice::from_ref(&owner), &board, 1).await;
        while late[0].event().await["clientMutationId"] != name.as_str() {}
    }
}
