//! The list of one's sessions, and ending them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    mail::{PASSWORD, mutate, reason, sign_up},
    support::{
        app::{Account, TestApp},
        fixture::{BoardBuilder, api_key},
        socket::Socket,
        sql::value,
    },
};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
const LIST: &str = "{ viewer { sessions(first: 100) { totalCount nodes { id device address isCurrent createdAt lastUsedAt \
    expiresAt } } } }";

/// Somebody who signed in from there, and the refresh token.
async fn sign_in(app: &TestApp, headers: &[(&str, &str)]) -> (Account, String) {
    let document = "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken refreshToken user { id } } }";
    let input = json!({ "input": { "email": "ada@example.org", "password": PASSWORD } });
    let (_, answer) = app.ask(headers, document, input).await;
    let session = &answer["data"]["signIn"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let account = Account { id: text(&session["user"]["id"]).parse().unwrap(), token: text(&session["accessToken"]) };
    (account, text(&session["refreshToken"]))
}

async fn sessions(app: &TestApp, who: &Account) -> Vec<Value> {
    let listed = app.data(Some(who), LIST, Value::Null).await["viewer"]["sessions"].take();
    let nodes = listed["nodes"].as_array().unwrap().clone();
    assert_eq!(listed["totalCount"], nodes.len());
    nodes
}

async fn own(app: &TestApp, who: &Account) -> Value {
    sessions(app, who).await.into_iter().find(|session| session["isCurrent"] == json!(true)).expect("one's own")
}

async fn end(app: &TestApp, who: &Account, id: &Value) -> Value {
    mutate(app, Some(who), "endSession", "sessionId", json!({ "id": id })).await
}

async fn is_signed_in(app: &TestApp, who: &Account) -> bool {
    app.answer(Some(who), "{ viewer { id } }", Value::Null).await["data"]["viewer"]["id"].is_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_with_where_they_were_begun() {
    let app = TestApp::with(&[("RAGBOARD_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let first = sign_up(&app, "ada@example.org", PASSWORD).await;
    let (laptop, refresh) = sign_in(&app, &[("user-agent", FIREFOX), ("x-forwarded-for", "203.0.113.7")]).await;
    let script = "<script>alert(1)</script>";
    let (odd, _) = sign_in(&app, &[("user-agent", script), ("x-forwarded-for", "2001:db8:1:2::3")]).await;
    let listed = sessions(&app, &laptop).await;
    let shown: Vec<_> =
        listed.iter().map(|session| (&session["device"], &session["address"], &session["isCurrent"])).collect();
    assert_eq!(
        shown,
        [
            (&Value::Null, &json!("2001:db8:1::/48"), &json!(false)),
            (&json!("Firefox on Linux"), &json!("203.0.113.x"), &json!(true)),
            (&Value::Null, &json!("127.0.0.x"), &json!(false)),
        ],
        "the last begun first"
    );
    assert!(listed[0]["id"].as_str().unwrap().starts_with("session_"));
    let page = "query ($after: String) { viewer { sessions(first: 1, after: $after) { nodes { device } \
        pageInfo { hasNextPage endCursor } } } }";
    let top = app.data(Some(&odd), page, Value::Null).await["viewer"]["sessions"].take();
    let next = app.data(Some(&odd), page, json!({ "after": top["pageInfo"]["endCursor"] })).await;
    assert_eq!(next["viewer"]["sessions"]["nodes"], json!([{ "device": "Firefox on Linux" }]));

    // A session that goes on elsewhere is the same session, and shows where it is now.
    let before = own(&app, &laptop).await;
    let document = "mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken } }";
    let headers = [("user-agent", "curl/8.11.0"), ("x-forwarded-for", "198.51.100.9")];
    app.ask(&headers, document, json!({ "token": refresh })).await;
    let after = own(&app, &laptop).await;
    assert_eq!((&after["id"], &after["createdAt"]), (&before["id"], &before["createdAt"]));
    assert_eq!((&after["device"], &after["address"]), (&json!("curl/8.11.0"), &json!("198.51.100.x")));
    let time = |session: &Value| chrono::DateTime::parse_from_rfc3339(session["lastUsedAt"].as_str().unwrap()).unwrap();
    assert!(time(&after) > time(&before), "{after}");
    assert_eq!(sessions(&app, &first).await.len(), 3);
    assert_eq!(value(&app.sql, "SELECT count(*) FROM sessions WHERE address LIKE '%113.7%'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_sees_or_ends_a_session() {
    let app = TestApp::new().await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let eve = sign_up(&app, "eve@example.org", PASSWORD).await;
    let session = own(&app, &ada).await;
    let refused = end(&app, &eve, &session["id"]).await;
    assert_eq!(reason(&refused), ("NotFoundError".to_owned(), json!(["id"])));
    for id in [json!("nonsense"), json!("user_00000000000000000000000000"), json!("")] {
        assert_eq!(reason(&end(&app, &ada, &id).await), ("ValidationError".to_owned(), json!(["id"])));
    }
    assert_eq!(mutate(&app, Some(&eve), "endOtherSessions", "endedCount", json!({})).await["endedCount"], 0);
    assert!(is_signed_in(&app, &ada).await);
    // Not through a board that they share, and not with a key, which is not the holder in person.
    let board = BoardBuilder::new(ada.id, "Public").public().make(&app).await;
    let document = "query ($id: ID!) { board(id: $id) { owner { sessions(first: 5) { totalCount nodes { id } } } } }";
    let seen = app.data(Some(&eve), document, json!({ "id": board.id.to_string() })).await;
    assert_eq!(seen["board"]["owner"]["sessions"], json!({ "totalCount": 0, "nodes": [] }));
    api_key(&app, ada.id, "rbk_admin", "'{admin}'").await;
    let (status, by_key) = app.ask(&[("authorization", "Bearer rbk_admin")], LIST, Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(by_key["data"]["viewer"]["sessions"], json!({ "totalCount": 0, "nodes": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_is_over_everywhere() {
    let app = TestApp::new().await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let (lost, refresh) = sign_in(&app, &[]).await;
    let mut here = Socket::of(app.listen().await, &lost).await;
    let mut there = Socket::of(other.listen().await, &lost).await;
    let id = own(&app, &lost).await["id"].take();
    assert_eq!(end(&app, &ada, &id).await["sessionId"], id);
    assert!(!is_signed_in(&app, &lost).await, "in this process at once");
    assert_eq!((here.ended().await, there.ended().await), (4401, 4401));
    let document = "mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken } }";
    assert_eq!(app.code(None, document, json!({ "token": refresh })).await, "UNAUTHENTICATED");
    assert_eq!(sessions(&app, &ada).await.len(), 1);
    assert_eq!(reason(&end(&app, &ada, &id).await).0, "NotFoundError", "it is over already");

    let (one, _) = sign_in(&app, &[]).await;
    let (two, _) = sign_in(&app, &[]).await;
    assert_eq!(mutate(&app, Some(&one), "endOtherSessions", "endedCount", json!({})).await["endedCount"], 2);
    assert!(is_signed_in(&app, &one).await && !is_signed_in(&app, &two).await && !is_signed_in(&app, &ada).await);
    // One's own session, too: that is signing out.
    let own_id = own(&app, &one).await["id"].take();
    assert_eq!(end(&app, &one, &own_id).await["sessionId"], own_id);
    assert!(!is_signed_in(&app, &one).await);
    // However a session ends or expires, it leaves the list.
    let (last, refresh) = sign_in(&app, &[]).await;
    let (looks, _) = sign_in(&app, &[]).await;
    assert_eq!(sessions(&app, &looks).await.len(), 2);
    let sign_out = "mutation ($token: String!) { signOut(input: { refreshToken: $token }) { isSignedOut } }";
    app.data(None, sign_out, json!({ "token": refresh })).await;
    assert_eq!(sessions(&app, &looks).await.len(), 1);
    assert!(!is_signed_in(&app, &last).await);
    app.sql.batch_execute("UPDATE sessions SET expires_at = now() - interval '1 s'").await.unwrap();
    assert!(sessions(&app, &looks).await.is_empty());
}
