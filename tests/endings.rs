//! How sockets and streams end: by a lost right, by credentials that ended, by the server that stops, by whoever does not read.

use std::{net::SocketAddr, time::Duration};

use futures_util::SinkExt;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    follow::{create, setup},
    support::{
        app::{Account, TestApp},
        cluster::TestFolder,
        fixture::{Board, BoardBuilder, collaborator, share},
        program::{self, Server},
        socket::{FOLLOW, Socket, start},
    },
};

const SIGN_UP: &str = "mutation ($email: String!) { signUp(input: { email: $email, password: \"correct horse battery\" }) \
    { accessToken refreshToken user { id } } }";

/// Somebody with a session of their own, and its refresh token.
async fn signed_up(app: &TestApp, email: &str) -> (Account, String) {
    let session = app.data(None, SIGN_UP, json!({ "email": email })).await["signUp"].take();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let account = Account { id: text(&session["user"]["id"]).parse().unwrap(), token: text(&session["accessToken"]) };
    (account, text(&session["refreshToken"]))
}

async fn silent(address: SocketAddr) -> Socket {
    Socket::silent(TcpStream::connect(address).await.unwrap(), &[]).await.unwrap()
}

fn code(message: &Value) -> &Value {
    &message["payload"]["errors"][0]["extensions"]["code"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_right_ends_the_operations_that_needed_it_and_no_others() {
    let (app, owner, board, address) = setup().await;
    let other = BoardBuilder::new(owner.id, "Other").make(&app).await;
    let guest = app.account("guest@example.org").await;
    collaborator(&app, &board, guest.id, "view", true).await;
    collaborator(&app, &other, guest.id, "view", true).await;
    let mut socket = Socket::of(address, &guest).await;
    socket.follow("lost", &board, start(&board)).await;
    socket.follow("kept", &other, start(&other)).await;
    let input = json!({ "boardId": board.id.to_string(), "userId": guest.id.to_string() });
    let remove =
        "mutation ($input: RemoveCollaboratorInput!) { removeCollaborator(input: $input) { userErrors { message } } }";
    app.data(Some(&owner), remove, json!({ "input": input })).await;
    let last = socket.next().await;
    assert_eq!((&last["id"], code(&last)), (&json!("lost"), &json!("INVALID_ARGUMENT")), "{last}");
    assert_eq!(socket.next().await, json!({ "id": "lost", "type": "complete" }));
    create(&app, &owner, &board, "unheard").await;
    create(&app, &owner, &other, "heard").await;
    assert_eq!(socket.event().await["clientMutationId"], "heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_end_close_the_socket() {
    let app = TestApp::new().await;
    let address = app.listen().await;
    let (ada, refresh) = signed_up(&app, "ada@example.org").await;
    let mut socket = Socket::of(address, &ada).await;
    let sign_out = "mutation ($token: String!) { signOut(input: { refreshToken: $token }) { userErrors { message } } }";
    app.data(None, sign_out, json!({ "token": refresh })).await;
    // At once for whatever is asked next, within a second for the socket.
    let ask = json!({ "id": "1", "type": "subscribe", "payload": { "query": "{ viewer { id } }" } });
    socket.send(ask).await;
    let answer = socket.next().await;
    assert!(answer["close"] == 4401 || *code(&answer) == "UNAUTHENTICATED", "{answer}");
    if answer.get("close").is_none() {
        assert_eq!(socket.ended().await, 4401);
    }
    assert_eq!(app.code(Some(&ada), "{ viewer { id } }", Value::Null).await, "UNAUTHENTICATED");

    // Somebody has a copy of the refresh token: the session ends for everybody, also in other processes.
    let (bob, refresh) = signed_up(&app, "bob@example.org").await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let mut socket = Socket::of(other.listen().await, &bob).await;
    let exchange = "mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken } }";
    app.data(None, exchange, json!({ "token": refresh })).await;
    let later = "UPDATE refresh_tokens SET used_at = used_at - interval '31 s' WHERE used_at IS NOT NULL";
    app.sql.batch_execute(later).await.unwrap();
    assert_eq!(app.code(None, exchange, json!({ "token": refresh })).await, "UNAUTHENTICATED");
    assert_eq!(socket.ended().await, 4401);

    let (eve, _) = signed_up(&app, "eve@example.org").await;
    let mut socket = Socket::of(address, &eve).await;
    app.sql.batch_execute("UPDATE users SET is_active = false WHERE email = 'eve@example.org'").await.unwrap();
    assert_eq!(socket.ended().await, 4401);

    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    share(&app, &board, owner.id, "a token of the test", &[]).await;
    let mut socket = Socket::open(address, json!({ "x-share-token": "a token of the test" })).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    app.sql.batch_execute("UPDATE board_shares SET revoked_at = now()").await.unwrap();
    assert_eq!(socket.ended().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_what_was_opened_with_it() {
    let (app, owner, board, address) = setup().await;
    let token = app.app.issue_token(owner.id, Duration::from_secs(2)).unwrap();
    let brief = Account { id: owner.id, token: secrecy::ExposeSecret::expose_secret(&token).to_owned() };
    let mut response = stream(address, &brief, &board, &[]).await;
    let mut socket = Socket::of(address, &brief).await;
    socket.follow("1", &board, start(&board)).await;
    assert_eq!(socket.ended().await, 4403);
    let told = rest(&mut response).await;
    assert!(told.contains("UNAUTHENTICATED") && told.contains("event: complete"), "{told}");
}

/// A stream of events of a board.
async fn stream(address: SocketAddr, who: &Account, board: &Board, headers: &[(&str, &str)]) -> reqwest::Response {
    let variables = json!({ "id": board.id.to_string(), "after": start(board) });
    let mut request = program::client()
        .post(format!("http://{address}/graphql"))
        .header("authorization", format!("Bearer {}", who.token))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(json!({ "query": FOLLOW, "variables": variables }).to_string()).send().await.unwrap()
}

async fn rest(response: &mut reqwest::Response) -> String {
    let mut text = String::new();
    while let Some(part) = response.chunk().await.unwrap() {
        text += std::str::from_utf8(&part).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_has_to_say_who_it_is_and_keep_to_the_protocol() {
    let (_app, owner, board, address) = setup().await;
    // Ten seconds pass until the first one is closed.
    let mut nobody = silent(address).await;
    let ask = json!({ "id": "1", "type": "subscribe", "payload": { "query": "{ __typename }" } });
    let mut hasty = silent(address).await;
    hasty.send(ask.clone()).await;
    assert_eq!(hasty.ended().await, 4401);
    let mut twice = Socket::of(address, &owner).await;
    twice.send(json!({ "type": "connection_init" })).await;
    assert_eq!(twice.ended().await, 4429);
    for nonsense in ["nonsense", "{}", "{\"type\":\"dance\"}", "{\"type\":\"subscribe\",\"id\":\"1\"}"] {
        let mut socket = Socket::of(address, &owner).await;
        socket.0.send(Message::text(nonsense)).await.unwrap();
        assert_eq!(socket.ended().await, 4400, "{nonsense}");
    }
    let mut same = Socket::of(address, &owner).await;
    same.follow("1", &board, start(&board)).await;
    same.send(ask).await;
    assert_eq!(same.ended().await, 4409);
    let mut asked = Socket::of(address, &owner).await;
    asked.send(json!({ "type": "ping", "payload": { "n": 1 } })).await;
    assert_eq!(asked.next().await, json!({ "type": "pong", "payload": { "n": 1 } }));
    assert_eq!(nobody.ended().await, 4408);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_open_nothing() {
    let app = TestApp::with(&[("RAGBOARD_ALLOWED_ORIGINS", "https://app.example.org")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let address = app.listen().await;
    let own = format!("http://{address}");
    for (origin, is_let_in) in
        [("https://evil.example", false), ("null", false), ("https://app.example.org", true), (&own, true)]
    {
        let headers = [("origin", origin)];
        let socket = Socket::silent(TcpStream::connect(address).await.unwrap(), &headers).await;
        assert_eq!(socket.err(), (!is_let_in).then_some(403), "{origin}");
        let status = stream(address, &owner, &board, &headers).await.status();
        assert_eq!(status, if is_let_in { 200 } else { 403 }, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_origin_is_known_over_http2_and_behind_proxies() {
    let trusting = TestApp::with(&[("RAGBOARD_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let plain = TestApp::new().await;
    // Over HTTP/2 a request has no header Host, and names the server in its address.
    let status = async |app: &TestApp, uri: &str, headers: &[(&str, &str)]| {
        let mut request = axum::http::Request::get(uri).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.send(request.body(axum::body::Body::empty()).unwrap()).await.status().as_u16()
    };
    let (path, origin) = ("/graphql?query=%7B__typename%7D", ("origin", "https://ragboard.example"));
    let absolute = format!("https://ragboard.example{path}");
    for app in [&trusting, &plain] {
        assert_eq!(status(app, &absolute, &[origin]).await, 200);
        assert_eq!(status(app, &absolute, &[("origin", "https://evil.example")]).await, 403);
        assert_eq!(status(app, path, &[origin, ("host", "Ragboard.example:443")]).await, 200);
    }
    for told in [("x-forwarded-host", "ragboard.example"), ("forwarded", "for=192.0.2.1;host=ragboard.example")] {
        let headers = [origin, ("host", "inner:8080"), told];
        assert_eq!(status(&trusting, path, &headers).await, 200, "{told:?}");
        assert_eq!(status(&plain, path, &headers).await, 403, "{told:?} by a stranger");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_sockets_and_streams() {
    let app = TestApp::with(&[("RAGBOARD_MAX_FOLLOWERS_PER_ADDRESS", "2")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let address = app.listen().await;
    let _stream = stream(address, &owner, &board, &[]).await;
    let socket = Socket::of(address, &owner).await;
    let one_more = || async { Socket::silent(TcpStream::connect(address).await.unwrap(), &[]).await };
    assert_eq!(one_more().await.err(), Some(429));
    assert_eq!(stream(address, &owner, &board, &[]).await.status(), 429);
    drop(socket);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while one_more().await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place never became free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_followers_to_come_back() {
    let (app, owner, board, address) = setup().await;
    let mut streamed = stream(address, &owner, &board, &[]).await;
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    create(&app, &owner, &board, "before").await;
    let cursor = socket.event().await["cursor"].clone();
    let stopped = async { tokio::time::timeout(Duration::from_secs(20), app.app.dismiss_followers()).await };
    let (code, told, stopped) = tokio::join!(socket.ended(), rest(&mut streamed), stopped);
    assert_eq!(code, 1012);
    // Not complete: the client of graphql-sse comes back by itself then.
    assert!(told.contains("\"OVERLOADED\"") && !told.contains("event: complete"), "{told}");
    assert!(stopped.is_ok(), "followers stayed");
    assert_eq!(Socket::silent(TcpStream::connect(address).await.unwrap(), &[]).await.err(), Some(503));
    // Another server goes on where this one was.
    let other = TestApp::on(app.url.clone(), &[]).await;
    let mut again = Socket::of(other.listen().await, &owner).await;
    again.follow("1", &board, cursor).await;
    create(&other, &owner, &board, "after").await;
    assert_eq!(again.event().await["clientMutationId"], "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_subscriptions_do_not_hold_up_a_server_that_stops() {
    let folder = TestFolder::new("drain");
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]).await;
    let token = program::result(&data, &["token", "demo@ragboard.example"]);
    let answer = server.ask(&token, "{ viewer { id } boards(first: 1) { nodes { id } } }").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let account =
        Account { id: text(&answer["data"]["viewer"]["id"]).parse().unwrap(), token: token.trim().to_owned() };
    let id = text(&answer["data"]["boards"]["nodes"][0]["id"]).parse().unwrap();
    let board = Board { id, nodes: Vec::new() };
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mut streamed = stream(address, &account, &board, &[]).await;
    let mut socket = Socket::of(address, &account).await;
    socket.follow("1", &board, Value::Null).await;
    server.signal(Signal::TERM);
    assert_eq!(socket.ended().await, 1012);
    assert!(rest(&mut streamed).await.contains("\"OVERLOADED\""));
    drop((socket, streamed));
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    assert!(!server.log().contains("cut off"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_holds_nobody_up_and_is_told_to_read_the_board_again() {
    let (app, owner, board, address) = setup().await;
    let mut quick = Socket::of(address, &owner).await;
    quick.follow("1", &board, start(&board)).await;
    // A window this small is full soon.
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let mut slow = Socket::silent(small.connect(address).await.unwrap(), &[]).await.unwrap();
    let credentials = json!({ "Authorization": format!("Bearer {}", owner.token) });
    slow.send(json!({ "type": "connection_init", "payload": credentials })).await;
    assert_eq!(slow.next().await["type"], "connection_ack");
    slow.follow("1", &board, start(&board)).await;
    // Entries of some kilobytes, in portions, so that who reads is never far behind.
    const PORTION: i64 = 400;
    const LAST: i64 = 1 + 5 * PORTION;
    let mut version = 1;
    while version < LAST {
        let log = format!(
            "BEGIN; UPDATE boards SET version = version + {PORTION}; \
             INSERT INTO board_events (board_id, version, changes) SELECT b.id, v, (SELECT \
             jsonb_agg(jsonb_build_object('type', 'node_deleted', 'id', gen_random_uuid())) FROM generate_series(1, 100)) \
             FROM boards b, generate_series({}, {}) v; COMMIT",
            version + 1,
            version + PORTION
        );
        app.sql.batch_execute(&log).await.unwrap();
        for _ in 0..PORTION {
            version += 1;
            assert_eq!(quick.event().await["version"], version);
        }
    }
    let (mut last, mut resyncs) = (1, 0);
    while last < LAST {
        let event = slow.event().await;
        let version = event["version"].as_i64().unwrap();
        if event["__typename"] == "ResyncRequired" {
            assert!(version > last + 1000, "{version} after {last}");
            resyncs += 1;
        } else {
            assert_eq!(version, last + 1);
        }
        last = version;
    }
    assert!(resyncs > 0, "everything was queued for a reader who did not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_older_than_the_log_is_told_so_although_nothing_happens() {
    let (app, owner, board, address) = setup().await;
    for number in 2..=5 {
        create(&app, &owner, &board, &number.to_string()).await;
    }
    app.sql.batch_execute("DELETE FROM board_events").await.unwrap();
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    assert_eq!(socket.event().await, json!({ "__typename": "ResyncRequired", "version": 5 }));
    create(&app, &owner, &board, "next").await;
    assert_eq!(socket.event().await["version"], 6);
    // Who was told all that there was has missed nothing, and need not read again.
    let place = ragboard::domain::event_place(board.id, 6).encode(ragboard::domain::EVENT_ORDER);
    app.sql.batch_execute("DELETE FROM board_events").await.unwrap();
    let mut other = Socket::of(address, &owner).await;
    other.follow("1", &board, json!(place)).await;
    create(&app, &owner, &board, "last").await;
    assert_eq!(other.event().await["clientMutationId"], "last");
}

/// Logs a change of a node of the board, as another process would; nothing can be read of nodes for as long as it lasts.
async fn change_unreadably(app: &TestApp, board: &Board, version: i64) {
    app.sql
        .batch_execute(&format!(
            "BEGIN; ALTER TABLE chat_nodes RENAME TO chat_nodes_away; UPDATE boards SET version = {version}; \
             INSERT INTO board_events (board_id, version, changes) SELECT id, {version}, \
             jsonb_build_array(jsonb_build_object('type', 'node_saved', 'id', '{}')) FROM boards; COMMIT",
            board.nodes[0].0
        ))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_objects_cannot_be_read_is_told_whole_later() {
    let app = TestApp::with(&[("RAGBOARD_CACHE_MODE", "off")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&app).await;
    let mut socket = Socket::of(app.listen().await, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    // From now on if no place is given: what is run again still goes on from there.
    socket.follow("now", &board, Value::Null).await;
    create(&app, &owner, &board, "before").await;
    let mut told = [socket.next().await, socket.next().await];
    told.sort_by_key(|message| message["id"].to_string());
    let reads = || app.app.store.statements().get("nodes.by_id").map_or(0, |totals| totals.count);
    let before = reads();
    change_unreadably(&app, &board, 3).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while reads() < before + 3 {
        assert!(tokio::time::Instant::now() < deadline, "nobody read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.sql.batch_execute("ALTER TABLE chat_nodes_away RENAME TO chat_nodes").await.unwrap();
    for _ in 0..2 {
        let event = socket.event().await;
        assert_eq!(event["version"], 3, "{event}");
        assert!(event["changes"][0]["node"].is_object(), "told whole: {event}");
    }
    create(&app, &owner, &board, "after").await;
    for _ in 0..2 {
        assert_eq!(socket.event().await["version"], 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_cannot_go_on_makes_its_client_come_back() {
    let app = TestApp::with(&[("RAGBOARD_CACHE_MODE", "off")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&app).await;
    let address = app.listen().await;
    let mut streamed = stream(address, &owner, &board, &[]).await;
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    create(&app, &owner, &board, "before").await;
    let cursor = socket.event().await["cursor"].clone();
    change_unreadably(&app, &board, 3).await;
    let (closed, told) = tokio::join!(socket.next(), rest(&mut streamed));
    assert_eq!(closed, json!({ "close": 1013 }), "neither half an event nor an end that clients take for one");
    assert!(told.contains("\"OVERLOADED\"") && !told.contains("event: complete"), "{told}");
    assert!(!told.contains("\"version\":3"), "{told}");
    // A query is answered as it is, and its socket stays.
    let mut socket = Socket::of(address, &owner).await;
    let query = json!({ "query": "query ($id: ID!) { node(id: $id) { id } }",
        "variables": { "id": board.nodes[0].to_string() } });
    socket.send(json!({ "id": "ask", "type": "subscribe", "payload": query })).await;
    assert_eq!(*code(&socket.next().await), "INTERNAL");
    assert_eq!(socket.next().await, json!({ "id": "ask", "type": "complete" }));
    app.sql.batch_execute("ALTER TABLE chat_nodes_away RENAME TO chat_nodes").await.unwrap();
    socket.follow("1", &board, cursor).await;
    let event = socket.event().await;
    assert_eq!(event["version"], 3);
    assert!(event["changes"][0]["node"].is_object(), "{event}");
}
