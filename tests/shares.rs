//! Share links: token, password, expiry, number of uses.

use std::{sync::Arc, time::Duration};

use ragboard::access::SecretHasher;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    cluster::connect,
    fixture::{Board, BoardBuilder, share},
    patience::PATIENCE,
    socket::Socket,
    sql::{until, waiting},
};

const OPEN: &str =
    "query ($token: String!, $password: String) { it: sharedBoard(token: $token, password: $password) { name } }";

async fn shared() -> (TestApp, Board, ragboard::domain::UserId) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Shared").make(&app).await;
    (app, board, owner.id)
}

async fn opens(app: &TestApp, token: &str) -> bool {
    !app.data(None, OPEN, json!({ "token": token })).await["it"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_while_it_lives() {
    let (app, board, owner) = shared().await;
    share(&app, &board, owner, "plain", &[]).await;
    share(&app, &board, owner, "expired", &[("expires_at", "now() - interval '1 second'")]).await;
    share(&app, &board, owner, "later", &[("expires_at", "now() + interval '1 hour'")]).await;
    share(&app, &board, owner, "revoked", &[("revoked_at", "now()")]).await;
    for (token, lives) in
        [("plain", true), ("later", true), ("expired", false), ("revoked", false), ("unknown", false), ("", false)]
    {
        assert_eq!(opens(&app, token).await, lives, "{token}");
    }
    assert!(!opens(&app, &"x".repeat(10_000)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_link_is_dead_with_the_next_look_in_the_header_too() {
    let (app, board, owner) = shared().await;
    share(&app, &board, owner, "token", &[]).await;
    let ask = async || app.ask(&[("x-share-token", "token")], "{ service { version } }", Value::Null).await;
    assert_eq!(ask().await.0.as_u16(), 200);
    assert!(opens(&app, "token").await);
    let began = tokio::time::Instant::now();
    app.sql.execute("UPDATE board_shares SET revoked_at = now()", &[]).await.unwrap();
    while opens(&app, "token").await || ask().await.0.as_u16() != 401 {
        assert!(began.elapsed() < PATIENCE, "a revoked link went on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_a_deactivated_owner_are_dead_everywhere() {
    let (app, board, owner) = shared().await;
    share(&app, &board, owner, "token", &[]).await;
    let ask = async || app.ask(&[("x-share-token", "token")], "{ service { version } }", Value::Null).await.0.as_u16();
    let mut socket = Socket::open(app.listen().await, json!({ "x-share-token": "token" })).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    socket.follow("1", &board, Value::Null).await;
    // In memory and past it.
    assert_eq!((ask().await, opens(&app, "token").await), (200, true));
    let began = tokio::time::Instant::now();
    app.sql.execute("UPDATE users SET is_active = false", &[]).await.unwrap();
    while opens(&app, "token").await || ask().await != 401 {
        assert!(began.elapsed() < PATIENCE, "a link of a deactivated owner went on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(socket.ended().await, 4401);
    // An account that is active again has its links again.
    app.sql.execute("UPDATE users SET is_active = true", &[]).await.unwrap();
    while !opens(&app, "token").await {
        assert!(began.elapsed() < PATIENCE * 3, "the link did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_checked_and_not_to_be_guessed() {
    let (app, board, owner) = shared().await;
    let hash = SecretHasher::default().hash(&SecretString::from("open sesame")).await.unwrap();
    share(&app, &board, owner, "token", &[("password_hash", &format!("'{hash}'"))]).await;
    let right = json!({ "token": "token", "password": "open sesame" });
    assert_eq!(app.code(None, OPEN, json!({ "token": "token" })).await, "UNAUTHENTICATED");
    assert_eq!(app.data(None, OPEN, right.clone()).await["it"]["name"], "Shared");
    // Attempts are counted, not requests: the aliases of one document count one each.
    let aliases: String =
        (0..10).map(|n| format!("a{n}: sharedBoard(token: \"token\", password: \"guess {n}\") {{ name }} ")).collect();
    assert_eq!(app.code(None, &format!("{{ {aliases} }}"), Value::Null).await, "UNAUTHENTICATED");
    let guess = json!({ "token": "token", "password": "one more" });
    assert_eq!(app.code(None, OPEN, guess).await, "RATE_LIMITED");
    // Who knew the password is not locked out by who did not.
    assert_eq!(app.data(None, OPEN, right).await["it"]["name"], "Shared");
    let headers = [("x-share-token", "token"), ("x-share-password", "open sesame")];
    let (status, answer) =
        app.ask(&headers, "query ($id: ID!) { board(id: $id) { name } }", json!({ "id": board.id.to_string() })).await;
    assert_eq!((status.as_u16(), answer["data"]["board"]["name"].as_str()), (200, Some("Shared")));
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_counted_exactly_by_principal() {
    let (app, board, owner) = shared().await;
    share(&app, &board, owner, "token", &[("max_uses", "3")]).await;
    let app = Arc::new(app);
    let mut accounts = Vec::new();
    for number in 0..8 {
        accounts.push(app.account(&format!("guest{number}@example.org")).await);
    }
    let attempts = accounts.iter().cloned().map(|account| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { !app.data(Some(&account), OPEN, json!({ "token": "token" })).await["it"].is_null() })
    });
    let mut opened = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        opened.push(attempt.await.unwrap());
    }
    assert_eq!(opened.iter().filter(|opened| **opened).count(), 3, "three uses, eight who tried at once");
    let used: i32 = app.sql.query_one("SELECT use_count FROM board_shares", &[]).await.unwrap().get(0);
    assert_eq!(used, 3);
    for (account, had_opened) in accounts.iter().zip(opened) {
        let again = !app.data(Some(account), OPEN, json!({ "token": "token" })).await["it"].is_null();
        assert_eq!(again, had_opened, "who holds the link goes on holding it, the others do not get it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_requests_of_one_guest_at_once_take_one_use() {
    let (app, board, owner) = shared().await;
    share(&app, &board, owner, "last-use", &[("max_uses", "1")]).await;
    share(&app, &board, owner, "any-number", &[]).await;
    let guest = app.account("guest@example.org").await;
    let bearer = format!("Bearer {}", guest.token);
    let document = "query ($id: ID!) { board(id: $id) { name } }";
    let holder = connect(&app.url).await;
    for token in ["last-use", "any-number"] {
        // All of them have found the link, and none has taken a use.
        holder.batch_execute("BEGIN; SELECT FROM board_shares FOR UPDATE").await.unwrap();
        let headers = [("authorization", bearer.as_str()), ("x-share-token", token)];
        let requests = (0..3).map(|_| app.ask(&headers, document, json!({ "id": board.id.to_string() })));
        let (answers, ()) = tokio::join!(futures_util::future::join_all(requests), async {
            until(&app.sql, &waiting(3)).await;
            holder.batch_execute("COMMIT").await.unwrap();
        });
        for (status, answer) in answers {
            assert_eq!(
                (status.as_u16(), &answer["data"]["board"]["name"]),
                (200, &json!("Shared")),
                "{token}: {answer}"
            );
        }
    }
    let used = app.sql.query_one("SELECT bool_and(use_count = 1) FROM board_shares", &[]).await.unwrap();
    assert!(used.get::<_, bool>(0), "one guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_any_characters_open_by_argument_header_and_socket() {
    let (app, board, owner) = shared().await;
    let address = app.listen().await;
    let token = app.app.issue_token(owner, Duration::from_secs(3600)).unwrap();
    let bearer = format!("Bearer {}", token.expose_secret());
    for password in
        ["Grüße-é-lang", "пароль-пароль", "漢字", "🔑 key", " a b c ", "100%25", "utf-8''x", "tab\tand\nline"]
    {
        // As an owner makes it.
        let document = "mutation ($input: ShareBoardInput!) { shareBoard(input: $input) { token } }";
        let input = json!({ "input": { "boardId": board.id.to_string(), "password": password } });
        let made = app.ask(&[("authorization", &bearer)], document, input).await.1;
        let token = made["data"]["shareBoard"]["token"].as_str().unwrap().to_owned();
        let by_argument = app.data(None, OPEN, json!({ "token": token, "password": password })).await;
        assert_eq!(by_argument["it"]["name"], "Shared", "{password:?}");

        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut forms = vec![format!("utf-8''{encoded}").into_bytes()];
        let stands_for_itself =
            password.trim() == password && !password.starts_with("utf-8") && !password.contains('\t');
        if stands_for_itself {
            forms.push(password.as_bytes().to_vec());
        }
        if password.starts_with("Gr") {
            forms.push(password.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect());
        }
        for form in forms {
            let request = axum::http::Request::post("/graphql")
                .header("content-type", "application/json")
                .header("x-share-token", &token)
                .header("x-share-password", axum::http::HeaderValue::from_bytes(&form).unwrap());
            let response = app.send(request.body("{\"query\":\"{__typename}\"}".into()).unwrap()).await;
            assert_eq!(response.status().as_u16(), 200, "{password:?} as {form:?}");
        }
        let payload = json!({ "X-Share-Token": token, "X-Share-Password": password });
        let mut socket = Socket::open(address, payload).await;
        assert_eq!(socket.next().await["type"], "connection_ack", "{password:?}");
    }
}
