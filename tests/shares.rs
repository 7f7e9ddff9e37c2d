//! Share links: token, password, expiry, number of uses.

use std::{sync::Arc, time::Duration};

use ragboard::access::SecretHasher;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    fixture::{Board, BoardBuilder, share},
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
async fn a_revoked_link_is_dead_within_a_second_in_the_header_too() {
    let (app, board, owner) = shared().await;
    share(&app, &board, owner, "token", &[]).await;
    let ask = async || app.ask(&[("x-share-token", "token")], "{ service { version } }", Value::Null).await;
    assert_eq!(ask().await.0.as_u16(), 200);
    assert!(opens(&app, "token").await);
    let began = tokio::time::Instant::now();
    app.sql.execute("UPDATE board_shares SET revoked_at = now()", &[]).await.unwrap();
    while opens(&app, "token").await || ask().await.0.as_u16() != 401 {
        assert!(began.elapsed() < Duration::from_secs(5), "a revoked link went on");
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
