//! How sockets and streams end: by a lost right, by credentials that ended, by the server that stops, by whoever does not read.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures_util::SinkExt;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    follow::{create, setup},
    support::{
        app::{Account, TestApp},
        cluster::TestFolder,
        fixture::{Board, BoardBuilder, collaborator, share},
        patience::{PATIENCE, until},
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

/// The place in the log of a board behind a version.
fn place(board: &Board, version: i64) -> Value {
    json!(ragboard::domain::event_place(board.id, version).encode(ragboard::domain::EVENT_ORDER))
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
    // At once for whatever is asked next, and a moment later for the socket.
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
    let token = app.app.issue_token(owner.id, Duration::from_secs(20)).unwrap();
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
    // Nobody has a megabyte said to him by saying it.
    asked.send(json!({ "type": "ping", "payload": "x".repeat(1 << 19) })).await;
    assert_eq!(asked.next().await, json!({ "type": "pong" }));
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
    until("the place is free", async || one_more().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_followers_to_come_back() {
    let (app, owner, board, address) = setup().await;
    let mut streamed = stream(address, &owner, &board, &[]).await;
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    create(&app, &owner, &board, "before").await;
    let cursor = socket.event().await["cursor"].clone();
    let stopped = async { timeout(PATIENCE, app.app.dismiss_followers()).await };
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
    // In portions, so that who reads is never far behind.
    const PORTION: i64 = 400;
    let (app, owner, board, address) = setup().await;
    let follow = async |socket: &mut Socket, after: i64, fields: &str| {
        let query = format!(
            "subscription ($id: ID!, $after: String) {{ boardEvents(boardId: $id, after: $after) {{ __typename \
             ... on ResyncRequired {{ version }} ... on BoardChanged {{ version {fields} }} }} }}"
        );
        let variables = json!({ "id": board.id.to_string(), "after": place(&board, after) });
        let payload = json!({ "query": query, "variables": variables });
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
    };
    // Ten kilobytes each for the one who does not read them, more in all than the system keeps for it; little work for both.
    let much: String = (0..40).map(|number| format!("name{number}: clientMutationId ")).collect();
    let mut version = 1;
    for round in 1.. {
        let (first, last) = (version, version + 5 * PORTION);
        let mut quick = Socket::of(address, &owner).await;
        follow(&mut quick, first, "").await;
        // A window this small is full soon.
        let small = TcpSocket::new_v4().unwrap();
        small.set_recv_buffer_size(4096).unwrap();
        let mut slow = Socket::silent(small.connect(address).await.unwrap(), &[]).await.unwrap();
        let credentials = json!({ "Authorization": format!("Bearer {}", owner.token) });
        slow.send(json!({ "type": "connection_init", "payload": credentials })).await;
        assert_eq!(slow.next().await["type"], "connection_ack");
        follow(&mut slow, first, &much).await;
        while version < last {
            let log = format!(
                "BEGIN; UPDATE boards SET version = version + {PORTION}; \
                 INSERT INTO board_events (board_id, version, client_mutation_id) SELECT b.id, v, repeat('x', 255) \
                 FROM boards b, generate_series({}, {}) v; COMMIT",
                version + 1,
                version + PORTION
            );
            app.sql.batch_execute(&log).await.unwrap();
            for _ in 0..PORTION {
                version += 1;
                let event = quick.event().await;
                assert_eq!((&event["__typename"], &event["version"]), (&json!("BoardChanged"), &json!(version)));
            }
        }
        let (mut seen, mut resyncs) = (first, 0);
        while seen < last {
            let message = slow.next().await;
            if message.get("close").is_some() {
                break;
            }
            assert_eq!(message["payload"].get("errors"), None, "{message}");
            let event = &message["payload"]["data"]["boardEvents"];
            let version = event["version"].as_i64().unwrap();
            if event["__typename"] == "ResyncRequired" {
                // More than 1,000 came since it last listened; some of them it has read of the log since.
                assert!(version > seen + 1, "{version} after {seen}");
                resyncs += 1;
            } else {
                assert_eq!(version, seen + 1);
            }
            seen = version;
        }
        if seen == last {
            assert!(resyncs > 0, "everything was queued for a reader who did not read");
            break;
        }
        // Who reads nothing for half a minute is cut off, and that long it took here.
        assert!(round < 5, "cut off at {seen} of {last}");
    }
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
    app.sql.batch_execute("DELETE FROM board_events").await.unwrap();
    let mut other = Socket::of(address, &owner).await;
    other.follow("1", &board, place(&board, 6)).await;
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
    let address = app.listen().await;
    let mut version = 1;
    for round in 1.. {
        let mut socket = Socket::of(address, &owner).await;
        socket.follow("1", &board, place(&board, version)).await;
        // From now on if no place is given: what is run again still goes on from there. It has begun when it is told
        // something.
        socket.follow("now", &board, Value::Null).await;
        let (mut told, deadline) = (BTreeMap::<String, i64>::new(), Instant::now() + PATIENCE);
        while told.len() < 2 || told.values().any(|last| *last < version) {
            assert!(Instant::now() < deadline, "{told:?} and not {version}");
            if !told.contains_key("now") {
                create(&app, &owner, &board, "before").await;
                version += 1;
            }
            while let Ok(message) = timeout(Duration::from_millis(200), socket.next()).await {
                let last = message["payload"]["data"]["boardEvents"]["version"].as_i64();
                let (Some(id), Some(last)) = (message["id"].as_str(), last) else { panic!("{message}") };
                told.insert(id.to_owned(), last);
            }
        }
        let reads = || app.app.store.statements().get("nodes.by_id").map_or(0, |totals| totals.count);
        let before = reads();
        version += 1;
        change_unreadably(&app, &board, version).await;
        until("they tried to read it", async || reads() >= before + 3).await;
        app.sql.batch_execute("ALTER TABLE chat_nodes_away RENAME TO chat_nodes").await.unwrap();
        let later = [socket.next().await, socket.next().await];
        if later.iter().any(|message| message["close"] == 1013) && round < 5 {
            // They go on trying for some seconds, which have passed here before they could have read it.
            continue;
        }
        for message in &later {
            let event = &message["payload"]["data"]["boardEvents"];
            assert_eq!(event["version"], version, "{message}");
            assert!(event["changes"][0]["node"].is_object(), "told whole: {message}");
        }
        create(&app, &owner, &board, "after").await;
        for _ in 0..2 {
            assert_eq!(socket.event().await["version"], version + 1);
        }
        break;
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
