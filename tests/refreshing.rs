//! Sessions that go on: refresh tokens that come twice at once, again after a lost answer, or too late, and signing out.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;

const PASSWORD: &str = "correct horse battery";
const SIGN_UP: &str = "mutation ($email: String!) { signUp(input: { email: $email, password: \"correct horse battery\" }) \
    { accessToken refreshToken } }";
const SIGN_IN: &str = "mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) \
    { accessToken refreshToken } }";
const REFRESH: &str = "mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken refreshToken user { email } } }";
const SIGN_OUT: &str = "mutation ($token: String!) { signOut(input: { refreshToken: $token }) { isSignedOut } }";

async fn sign_up(app: &TestApp, email: &str) -> Value {
    app.data(None, SIGN_UP, json!({ "email": email })).await["signUp"].take()
}

async fn sign_in(app: &TestApp, email: &str) -> Value {
    app.data(None, SIGN_IN, json!({ "email": email, "password": PASSWORD })).await["signIn"].take()
}

async fn refresh(app: &TestApp, token: &Value) -> Value {
    app.data(None, REFRESH, json!({ "token": token })).await["refreshSession"].take()
}

async fn refused(app: &TestApp, token: &Value) -> String {
    app.code(None, REFRESH, json!({ "token": token })).await
}

async fn email_of(app: &TestApp, session: &Value) -> Value {
    let bearer = format!("Bearer {}", session["accessToken"].as_str().unwrap());
    app.ask(&[("authorization", &bearer)], "{ viewer { email } }", Value::Null).await.1["data"]["viewer"]["email"]
        .take()
}

async fn tokens(app: &TestApp) -> i64 {
    app.sql.query_one("SELECT count(*) FROM refresh_tokens", &[]).await.unwrap().get(0)
}

/// Lets half a minute pass for everything that was used.
async fn half_a_minute_later(app: &TestApp) {
    app.sql
        .execute("UPDATE refresh_tokens SET used_at = used_at - interval '31 s' WHERE used_at IS NOT NULL", &[])
        .await
        .unwrap();
}

/// Lets a minute pass for everything that was used.
async fn a_minute_later(app: &TestApp) {
    app.sql
        .execute("UPDATE refresh_tokens SET used_at = used_at - interval '61 s' WHERE used_at IS NOT NULL", &[])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_that_refresh_at_once_both_go_on() {
    let app = TestApp::new().await;
    let mut session = sign_up(&app, "ada@example.org").await;
    for round in 0..40 {
        let token = &session["refreshToken"];
        let (one, two) = tokio::join!(refresh(&app, token), refresh(&app, token));
        assert_eq!(one["refreshToken"], two["refreshToken"], "round {round}");
        assert_ne!(&one["refreshToken"], token, "round {round}");
        for answer in [&one, &two] {
            assert_eq!(email_of(&app, answer).await, "ada@example.org", "round {round}");
        }
        session = one;
    }
    assert_eq!(tokens(&app).await, 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_that_come_with_one_token_get_one_successor() {
    let app = TestApp::new().await;
    let session = sign_up(&app, "ada@example.org").await;
    let answers = join_all((0..40).map(|_| refresh(&app, &session["refreshToken"]))).await;
    for answer in &answers {
        assert_eq!(answer["refreshToken"], answers[0]["refreshToken"]);
        assert_eq!(email_of(&app, answer).await, "ada@example.org");
    }
    assert_eq!(tokens(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_can_be_had_again() {
    let app = TestApp::new().await;
    let first = sign_up(&app, "ada@example.org").await;
    let lost = refresh(&app, &first["refreshToken"]).await;
    let again = refresh(&app, &first["refreshToken"]).await;
    assert_eq!(again["refreshToken"], lost["refreshToken"]);
    // The slower tab may come after the faster one has gone on from the successor.
    let next = refresh(&app, &again["refreshToken"]).await;
    assert_eq!(refresh(&app, &first["refreshToken"]).await["refreshToken"], again["refreshToken"]);
    assert_eq!(refresh(&app, &again["refreshToken"]).await["refreshToken"], next["refreshToken"]);
    for answer in [&lost, &again, &next] {
        assert_eq!(email_of(&app, answer).await, "ada@example.org");
    }
    assert_eq!(tokens(&app).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_comes_later_closes_the_session() {
    let app = TestApp::new().await;
    let first = sign_up(&app, "ada@example.org").await;
    let other = sign_in(&app, "ada@example.org").await;
    let second = refresh(&app, &first["refreshToken"]).await;
    half_a_minute_later(&app).await;
    // A thief comes with the used one; from then on the rightful one is not good either, nor are access tokens.
    assert_eq!(refused(&app, &first["refreshToken"]).await, "UNAUTHENTICATED");
    assert_eq!(refused(&app, &second["refreshToken"]).await, "UNAUTHENTICATED");
    assert_eq!(email_of(&app, &second).await, Value::Null);
    assert_eq!(refused(&app, &json!("nonsense")).await, "UNAUTHENTICATED");
    assert_eq!(refused(&app, &json!("x".repeat(100_000))).await, "UNAUTHENTICATED");
    // Other sessions of the account go on.
    assert_eq!(email_of(&app, &refresh(&app, &other["refreshToken"]).await).await, "ada@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_stored_tells_a_token() {
    let app = TestApp::new().await;
    let mut session = sign_up(&app, "ada@example.org").await;
    for _ in 0..3 {
        session = refresh(&app, &session["refreshToken"]).await;
    }
    half_a_minute_later(&app).await;
    session = refresh(&app, &session["refreshToken"]).await;
    let row = app
        .sql
        .query_one(
            "SELECT count(*) FILTER (WHERE octet_length(token_digest) <> 32), count(successor_salt), \
             string_agg(t::text, ' ') FROM refresh_tokens t",
            &[],
        )
        .await
        .unwrap();
    // Salts are kept as long as a token may come again, and no longer: what leaks later leads nowhere.
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 1));
    let all: String = row.get(2);
    assert!(!all.contains(session["refreshToken"].as_str().unwrap()), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_even_beside_a_refresh() {
    let app = TestApp::new().await;
    sign_up(&app, "ada@example.org").await;
    let kept = sign_in(&app, "ada@example.org").await;
    for round in 0..20 {
        let session = sign_in(&app, "ada@example.org").await;
        let token = json!({ "token": session["refreshToken"] });
        let (out, refreshed) =
            tokio::join!(app.data(None, SIGN_OUT, token.clone()), app.answer(None, REFRESH, token.clone()));
        assert_eq!(out["signOut"]["isSignedOut"], true, "round {round}");
        // Whoever came first: nothing is left of the session.
        let mut left = vec![session];
        if refreshed.get("errors").is_none() {
            left.push(refreshed["data"]["refreshSession"].clone());
        }
        for answer in &left {
            assert_eq!(refused(&app, &answer["refreshToken"]).await, "UNAUTHENTICATED", "round {round}");
            let bearer = format!("Bearer {}", answer["accessToken"].as_str().unwrap());
            let headers = [("authorization", bearer.as_str()), ("cache-control", "no-cache")];
            let viewer = app.ask(&headers, "{ viewer { email } }", Value::Null).await.1;
            assert_eq!(viewer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "round {round}: {viewer}");
        }
    }
    assert_eq!(email_of(&app, &refresh(&app, &kept["refreshToken"]).await).await, "ada@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_or_whose_account_was_deactivated_is_not_good() {
    let app = TestApp::new().await;
    let session = sign_up(&app, "ada@example.org").await;
    app.sql.execute("UPDATE users SET is_active = false", &[]).await.unwrap();
    assert_eq!(refused(&app, &session["refreshToken"]).await, "UNAUTHENTICATED");
    // It was not used up by that.
    app.sql.execute("UPDATE users SET is_active = true", &[]).await.unwrap();
    let next = refresh(&app, &session["refreshToken"]).await;
    app.sql
        .execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 s' WHERE used_at IS NULL", &[])
        .await
        .unwrap();
    assert_eq!(refused(&app, &next["refreshToken"]).await, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_grow_and_yet_knows_every_copy() {
    let app = TestApp::new().await;
    let first = sign_up(&app, "ada@example.org").await;
    let other = sign_in(&app, "ada@example.org").await;
    let mut session = first.clone();
    for _ in 0..5 {
        session = refresh(&app, &session["refreshToken"]).await;
        a_minute_later(&app).await;
    }
    assert_eq!(tokens(&app).await, 2 + 1, "the one that is good and the last used one, and that of the other session");
    assert_eq!(email_of(&app, &session).await, "ada@example.org");
    // Somebody makes up a token: that ends nothing.
    let made_up = json!(first["refreshToken"].as_str().unwrap().replace("family_", "family_x"));
    assert_eq!(refused(&app, &made_up).await, "UNAUTHENTICATED");
    assert_eq!(email_of(&app, &session).await, "ada@example.org");
    // A thief who kept the very first one: of it there is no row any more.
    assert_eq!(refused(&app, &first["refreshToken"]).await, "UNAUTHENTICATED");
    assert_eq!(refused(&app, &session["refreshToken"]).await, "UNAUTHENTICATED");
    assert_eq!(email_of(&app, &session).await, Value::Null);
    assert_eq!(email_of(&app, &refresh(&app, &other["refreshToken"]).await).await, "ada@example.org");
    // Signing out with an old one ends the session, as with any.
    let mut last = sign_in(&app, "ada@example.org").await;
    let begun = last.clone();
    for _ in 0..3 {
        last = refresh(&app, &last["refreshToken"]).await;
        a_minute_later(&app).await;
    }
    app.data(None, SIGN_OUT, json!({ "token": begun["refreshToken"] })).await;
    assert_eq!(refused(&app, &last["refreshToken"]).await, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_began_with_an_older_version_knows_its_copies_too() {
    let app = TestApp::new().await;
    sign_up(&app, "ada@example.org").await;
    app.sql
        .batch_execute(
            "INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at) \
             SELECT id, uuid_v7(), sha256('refresh_of_before'), now() + interval '1 day' FROM users",
        )
        .await
        .unwrap();
    let mut session = json!({ "refreshToken": "refresh_of_before" });
    for _ in 0..3 {
        session = refresh(&app, &session["refreshToken"]).await;
        a_minute_later(&app).await;
    }
    assert_eq!(email_of(&app, &session).await, "ada@example.org");
    assert_eq!(refused(&app, &json!("refresh_of_before")).await, "UNAUTHENTICATED");
    assert_eq!(refused(&app, &session["refreshToken"]).await, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_goes_on_without_end_has_to_wait() {
    let app = TestApp::new().await;
    let session = sign_up(&app, "ada@example.org").await;
    let other = sign_in(&app, "ada@example.org").await;
    // As if it had gone on sixty times within the last moments.
    let digest = ragboard::access::token_digest(session["refreshToken"].as_str().unwrap()).to_vec();
    app.sql
        .execute(
            "INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at, used_at) \
             SELECT t.user_id, t.family_id, sha256(n::text::bytea), t.expires_at, now() \
             FROM refresh_tokens t, generate_series(1, 60) n WHERE t.token_digest = $1",
            &[&digest],
        )
        .await
        .unwrap();
    let answer = app.answer(None, REFRESH, json!({ "token": session["refreshToken"] })).await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "RATE_LIMITED", "{answer}");
    assert!(error["message"].as_str().unwrap().contains("try again in "), "{answer}");
    assert_eq!(email_of(&app, &refresh(&app, &other["refreshToken"]).await).await, "ada@example.org");
    // Nothing was used up by that.
    a_minute_later(&app).await;
    let next = refresh(&app, &session["refreshToken"]).await;
    assert_eq!(email_of(&app, &next).await, "ada@example.org");
    assert_eq!(tokens(&app).await, 2 + 2);
}
