//! Accounts and sessions through the API: signing up, in and out, tokens that are used once, and guessing that gets nowhere.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::support::app::{Account, TestApp};

const SESSION: &str =
    "accessToken refreshToken expiresAt user { id name email } userErrors { __typename path message }";

async fn run(app: &TestApp, name: &str, kind: &str, fields: &str, input: Value) -> Value {
    let document = format!("mutation ($input: {kind}!) {{ {name}(input: $input) {{ {fields} }} }}");
    app.answer(None, &document, json!({ "input": input })).await
}

async fn sign_up(app: &TestApp, email: &str, password: &str) -> Value {
    let input = json!({ "email": email, "password": password, "name": "Ada" });
    run(app, "signUp", "SignUpInput", SESSION, input).await["data"]["signUp"].take()
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Value {
    run(app, "signIn", "SignInInput", SESSION, json!({ "email": email, "password": password })).await
}

async fn refresh(app: &TestApp, token: &Value) -> Value {
    run(app, "refreshSession", "SessionInput", SESSION, json!({ "refreshToken": token })).await
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

async fn email_of(app: &TestApp, access_token: &Value) -> Value {
    let bearer = format!("Bearer {}", access_token.as_str().unwrap());
    app.ask(&[("authorization", &bearer)], "{ viewer { email } }", Value::Null).await.1["data"]["viewer"]["email"]
        .take()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_up_is_signed_in_and_can_come_back() {
    let app = TestApp::new().await;
    let session = sign_up(&app, " Ada@Example.org ", "correct horse battery").await;
    assert_eq!(session["userErrors"], json!([]));
    assert_eq!(session["user"]["email"], "ada@example.org");
    assert_eq!(email_of(&app, &session["accessToken"]).await, "ada@example.org");
    let stored: String = app.sql.query_one("SELECT password_hash FROM users", &[]).await.unwrap().get(0);
    assert!(stored.starts_with("$argon2id$"));
    let again = sign_up(&app, "ADA@example.org", "correct horse battery").await;
    assert_eq!((&again["userErrors"][0]["__typename"], &again["user"]), (&json!("ConflictError"), &Value::Null));
    for (email, password, path) in [
        ("nonsense", "correct horse battery", "email"),
        ("a@b", "correct horse battery", "email"),
        ("other@example.org", "short", "password"),
        ("other@example.org", &"x".repeat(1025), "password"),
    ] {
        let refused = sign_up(&app, email, password).await;
        assert_eq!(refused["userErrors"][0]["path"], json!([path]), "{email}: {refused}");
    }
    let back = sign_in(&app, "ada@EXAMPLE.org", "correct horse battery").await["data"]["signIn"].take();
    assert_eq!(email_of(&app, &back["accessToken"]).await, "ada@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_tell_nothing_and_run_out() {
    let app = TestApp::new().await;
    sign_up(&app, "ada@example.org", "correct horse battery").await;
    let wrong = sign_in(&app, "ada@example.org", "wrong horse battery").await;
    let unknown = sign_in(&app, "nobody@example.org", "wrong horse battery").await;
    assert_eq!(code(&wrong), "UNAUTHENTICATED");
    assert_eq!(wrong["errors"][0]["message"], unknown["errors"][0]["message"]);
    app.sql.execute("UPDATE users SET is_active = false", &[]).await.unwrap();
    let inactive = sign_in(&app, "ada@example.org", "correct horse battery").await;
    assert_eq!(inactive["errors"][0]["message"], wrong["errors"][0]["message"]);
    app.sql.execute("UPDATE users SET is_active = true", &[]).await.unwrap();
    // Attempts are counted, not requests, and by the settled address: the operations of one batch count one each, whatever
    // letters they use. Not even the right password gets in while the wait lasts.
    let mut batch = Vec::new();
    for (email, password) in [
        ("ada@example.org", "wrong horse battery"),
        (" Ada@Example.org ", "wrong horse battery"),
        ("ADA@EXAMPLE.ORG", "wrong horse battery"),
        ("ada@example.org", "wrong horse battery"),
        ("Ada@example.org", "correct horse battery"),
    ] {
        let document = format!(
            "mutation {{ signIn(input: {{ email: \"{email}\", password: \"{password}\" }}) {{ accessToken }} }}"
        );
        batch.push(json!({ "query": document }));
    }
    let request = Request::post("/graphql").header("content-type", "application/json");
    let response = app.send(request.body(Body::from(json!(batch).to_string())).unwrap()).await;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let answers: Vec<Value> = serde_json::from_slice(&body).unwrap();
    let codes: Vec<&str> = answers.iter().map(code).collect();
    // Two were made before.
    assert_eq!(codes[..3], ["UNAUTHENTICATED"; 3]);
    assert_eq!(codes[3..], ["RATE_LIMITED"; 2]);
    let message = answers[4]["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("try again in ") && message.contains(" seconds"), "{message}");
    // A stored hash that is none is a wrong password like any other.
    app.account("imported@example.org").await;
    let without = sign_in(&app, "imported@example.org", "no password").await;
    assert_eq!(without["errors"][0]["message"], wrong["errors"][0]["message"]);
    // Others are not locked out.
    sign_up(&app, "bob@example.org", "correct horse battery").await;
    assert!(
        sign_in(&app, "bob@example.org", "correct horse battery").await["data"]["signIn"]["accessToken"].is_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_same_moment_count_one_each_and_do_not_lock_the_holder_out() {
    let app = TestApp::with(&[("RAGBOARD_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    sign_up(&app, "ada@example.org", "correct horse battery").await;
    let from = async |address: &str, email: &str, password: &str| {
        let document = "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken } }";
        let input = json!({ "input": { "email": email, "password": password } });
        app.ask(&[("x-forwarded-for", address)], document, input).await.1
    };
    // Whether there is such an account makes no difference.
    for email in ["ada@example.org", "nobody@example.org"] {
        let guesses = (0..12).map(|_| from("198.51.100.1", email, "wrong horse battery"));
        let answers = futures_util::future::join_all(guesses).await;
        let codes: Vec<&str> = answers.iter().map(code).collect();
        let made = codes.iter().filter(|code| **code == "UNAUTHENTICATED").count();
        let early = codes.iter().filter(|code| **code == "RATE_LIMITED").count();
        assert_eq!((made, early), (5, 7), "{email}: {codes:?}");
    }
    let holder = from("198.51.100.2", "ada@example.org", "correct horse battery").await;
    assert!(holder["data"]["signIn"]["accessToken"].is_string(), "{holder}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_a_copy_closes_the_session() {
    let app = TestApp::new().await;
    let first = sign_up(&app, "ada@example.org", "correct horse battery").await;
    let second = refresh(&app, &first["refreshToken"]).await["data"]["refreshSession"].take();
    assert_eq!(email_of(&app, &second["accessToken"]).await, "ada@example.org");
    // A thief comes with the used one; from then on the rightful one is not good either.
    assert_eq!(code(&refresh(&app, &first["refreshToken"]).await), "UNAUTHENTICATED");
    assert_eq!(code(&refresh(&app, &second["refreshToken"]).await), "UNAUTHENTICATED");
    assert_eq!(code(&refresh(&app, &json!("nonsense")).await), "UNAUTHENTICATED");
    // Other sessions of the account go on; of two that come at once, one gets through and closes the session for both.
    let other = sign_in(&app, "ada@example.org", "correct horse battery").await["data"]["signIn"].take();
    let (one, two) = tokio::join!(refresh(&app, &other["refreshToken"]), refresh(&app, &other["refreshToken"]));
    assert_eq!([&one, &two].iter().filter(|answer| answer.get("errors").is_none()).count(), 1, "{one} {two}");
    let stored: i64 = app
        .sql
        .query_one("SELECT count(*) FROM refresh_tokens WHERE octet_length(token_digest) <> 32", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(stored, 0);
    // Signing out ends the session, and only that.
    let (a, b) = (
        sign_in(&app, "ada@example.org", "correct horse battery").await["data"]["signIn"].take(),
        sign_in(&app, "ada@example.org", "correct horse battery").await["data"]["signIn"].take(),
    );
    let out = run(&app, "signOut", "SessionInput", "isSignedOut", json!({ "refreshToken": a["refreshToken"] })).await;
    assert_eq!(out["data"]["signOut"]["isSignedOut"], true);
    assert_eq!(code(&refresh(&app, &a["refreshToken"]).await), "UNAUTHENTICATED");
    assert!(refresh(&app, &b["refreshToken"]).await.get("errors").is_none());
    app.sql
        .execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 s' WHERE used_at IS NULL", &[])
        .await
        .unwrap();
    let last = refresh(&app, &b["refreshToken"]).await;
    assert_eq!(code(&last), "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_changes_its_own_account() {
    let app = TestApp::new().await;
    let owner: Account = app.account("owner@example.org").await;
    let update = async |who: Option<&Account>, input: Value| {
        let document = "mutation ($input: UpdateViewerInput!) { updateViewer(input: $input) { user { name avatarUrl settings } \
            userErrors { __typename path } } }";
        app.answer(who, document, json!({ "input": input })).await
    };
    let input = json!({ "name": "New name", "settings": { "theme": "dark" } });
    let changed = update(Some(&owner), input).await["data"]["updateViewer"]["user"].take();
    assert_eq!(changed, json!({ "name": "New name", "avatarUrl": null, "settings": { "theme": "dark" } }));
    assert_eq!(app.data(Some(&owner), "{ viewer { name } }", Value::Null).await["viewer"]["name"], "New name");
    let cleared = update(Some(&owner), json!({ "name": null })).await["data"]["updateViewer"]["user"].take();
    assert_eq!((&cleared["name"], &cleared["settings"]["theme"]), (&Value::Null, &json!("dark")));
    let refused = update(Some(&owner), json!({ "avatarUrl": "javascript:1" })).await;
    assert_eq!(refused["data"]["updateViewer"]["userErrors"][0]["path"], json!(["avatarUrl"]));
    assert_eq!(code(&update(None, json!({ "name": "x" })).await), "UNAUTHENTICATED");
}
