//! Accounts through the API: signing up and in, and guessing that gets nowhere. How sessions go on is `refreshing.rs`.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    cluster::connect,
    sql::{until, waiting},
};

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
    // Of the same kind as for an address that is none.
    assert_eq!((&again["userErrors"][0]["__typename"], &again["user"]), (&json!("ValidationError"), &Value::Null));
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
        ("ada@EXAMPLE.org", "wrong horse battery"),
        ("ADA@example.org", "wrong horse battery"),
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
    // On a machine that is slow, a second may pass in between and allow one more, which doubles the wait.
    assert!(codes[3..6].iter().all(|code| ["UNAUTHENTICATED", "RATE_LIMITED"].contains(code)), "{codes:?}");
    assert_eq!(codes[6], "RATE_LIMITED", "{codes:?}");
    let message = answers[6]["errors"][0]["message"].as_str().unwrap();
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
        let began = std::time::Instant::now();
        let guesses = (0..12).map(|_| from("198.51.100.1", email, "wrong horse battery"));
        let answers = futures_util::future::join_all(guesses).await;
        // On a machine that is slow, a second may pass in between and allow one more, two further ones the next.
        let most = 5 + (began.elapsed().as_secs() as usize + 1).ilog2() as usize;
        let codes: Vec<&str> = answers.iter().map(code).collect();
        let made = codes.iter().filter(|code| **code == "UNAUTHENTICATED").count();
        let early = codes.iter().filter(|code| **code == "RATE_LIMITED").count();
        assert!((5..=most).contains(&made) && made + early == 12, "{email}: {codes:?}");
    }
    let holder = from("198.51.100.2", "ada@example.org", "correct horse battery").await;
    assert!(holder["data"]["signIn"]["accessToken"].is_string(), "{holder}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_account_leaves_what_it_does_not_give() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    // What a request knows of the account is as old as its beginning.
    let document = "mutation ($settings: JSON) { a: updateViewer(input: { name: \"First\" }) { user { name } } \
        b: updateViewer(input: { avatarUrl: \"https://example.org/a.png\" }) { user { name } } \
        c: updateViewer(input: { settings: $settings }) { user { name avatarUrl settings } } }";
    let data = app.data(Some(&owner), document, json!({ "settings": { "theme": "dark" } })).await;
    let user = json!({ "name": "First", "avatarUrl": "https://example.org/a.png", "settings": { "theme": "dark" } });
    assert_eq!((&data["b"]["user"]["name"], &data["c"]["user"]), (&json!("First"), &user));

    // Two devices: both know the account before either has changed it.
    let update = async |input: Value| {
        let document =
            "mutation ($input: UpdateViewerInput!) { updateViewer(input: $input) { userErrors { message } } }";
        app.data(Some(&owner), document, json!({ "input": input })).await["updateViewer"]["userErrors"].take()
    };
    let holder = connect(&app.url).await;
    holder.batch_execute("BEGIN; SELECT FROM users FOR NO KEY UPDATE").await.unwrap();
    let (one, two, ()) =
        tokio::join!(update(json!({ "name": "Second" })), update(json!({ "avatarUrl": null })), async {
            until(&app.sql, &waiting(2)).await;
            holder.batch_execute("COMMIT").await.unwrap();
        });
    assert_eq!((one, two), (json!([]), json!([])));
    let viewer = app.data(Some(&owner), "{ viewer { name avatarUrl settings } }", Value::Null).await["viewer"].take();
    assert_eq!(viewer, json!({ "name": "Second", "avatarUrl": null, "settings": { "theme": "dark" } }));
}

/// One application, asked from many addresses.
struct FromAnywhere(TestApp);

impl FromAnywhere {
    async fn new() -> Self {
        let app = TestApp::with(&[("RAGBOARD_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
        sign_up(&app, "ada@example.org", PASSWORD).await;
        FromAnywhere(app)
    }

    async fn sign_in(&self, address: &str, email: &str, password: &str, device: Option<&Value>) -> Value {
        let document = "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken deviceToken } }";
        let input = json!({ "input": { "email": email, "password": password, "deviceToken": device } });
        self.0.ask(&[("x-forwarded-for", address)], document, input).await.1
    }

    /// Guesses from addresses of their own until no more are allowed; how many were made.
    async fn guesses(&self, email: &str) -> usize {
        let mut made = 0;
        for network in 0..60 {
            let address = format!("2001:db8:0:{network:x}::1");
            let guesses = (0..5).map(|_| self.sign_in(&address, email, "wrong horse battery", None));
            let answers = futures_util::future::join_all(guesses).await;
            let wrong = answers.iter().filter(|answer| code(answer) == "UNAUTHENTICATED").count();
            made += wrong;
            if wrong == 0 {
                break;
            }
        }
        made
    }
}

const PASSWORD: &str = "correct horse battery";

fn is_in(answer: &Value) -> bool {
    answer["data"]["signIn"]["accessToken"].is_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_anywhere_lock_nobody_out_who_comes_from_where_he_was() {
    let app = FromAnywhere::new().await;
    let home = app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, None).await;
    let device = home["data"]["signIn"]["deviceToken"].clone();
    assert!(device.is_string(), "{home}");
    assert_eq!(app.guesses("ada@example.org").await, 100);
    assert_eq!(app.guesses("nobody@example.org").await, 100, "whether there is such an account makes no difference");
    // From a new place even the right password waits; from home, and with the device, it does not, however often.
    let elsewhere = app.sign_in("203.0.113.9", "ada@example.org", PASSWORD, None).await;
    assert_eq!(code(&elsewhere), "RATE_LIMITED");
    for _ in 0..3 {
        assert!(is_in(&app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, None).await));
    }
    let travelling = app.sign_in("203.0.113.9", "ada@example.org", PASSWORD, Some(&device)).await;
    assert!(is_in(&travelling), "{travelling}");
    assert_eq!(travelling["data"]["signIn"]["deviceToken"], device, "the same device");
    // The place is known from then on.
    assert!(is_in(&app.sign_in("203.0.113.9", "ada@example.org", PASSWORD, None).await));
    // A device is known for its account, by its token, and for 90 days.
    for (email, device) in [("nobody@example.org", device.clone()), ("ada@example.org", json!("device_nonsense"))] {
        let answer = app.sign_in("203.0.113.10", email, PASSWORD, Some(&device)).await;
        assert_eq!(code(&answer), "RATE_LIMITED", "{email}");
    }
    app.0.sql.execute("UPDATE sign_in_places SET last_used_at = now() - interval '91 days'", &[]).await.unwrap();
    assert_eq!(code(&app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, Some(&device)).await), "RATE_LIMITED");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_at_the_holders_own_address_does_not_stop_his_device() {
    let app = FromAnywhere::new().await;
    let home = app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, None).await;
    let device = home["data"]["signIn"]["deviceToken"].clone();
    // He and whoever has stolen a device guess no faster by it.
    for (address, device) in [("198.51.100.7", None), ("192.0.2.1", Some(&device))] {
        if device.is_some() {
            assert!(is_in(&app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, device).await));
        }
        let guesses = (0..20).map(|_| app.sign_in(address, "ada@example.org", "wrong horse battery", device));
        let answers = futures_util::future::join_all(guesses).await;
        assert!(answers.iter().any(|answer| code(answer) == "RATE_LIMITED"), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_account_twenty_addresses_and_devices_are_remembered() {
    let app = FromAnywhere::new().await;
    for number in 0..25 {
        assert!(is_in(&app.sign_in(&format!("198.51.100.{number}"), "ada@example.org", PASSWORD, None).await));
    }
    let count = "SELECT count(*) FILTER (WHERE is_device), count(*) FILTER (WHERE NOT is_device) FROM sign_in_places";
    let row = app.0.sql.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_sign_ins_beside_two_hundred_guesses_all_succeed() {
    let app = FromAnywhere::new().await;
    let home = app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, None).await;
    let device = home["data"]["signIn"]["deviceToken"].clone();
    let guesses = futures_util::future::join_all((0..200).map(async |number: u32| {
        let (address, email) = (format!("2001:db8:1:{number:x}::1"), format!("nobody-{number}@example.org"));
        app.sign_in(&address, &email, "wrong horse battery", None).await
    }));
    let honest = futures_util::future::join_all((0..5).map(|number| {
        let device = Some(&device).filter(|_| number % 2 == 0);
        app.sign_in("198.51.100.7", "ada@example.org", PASSWORD, device)
    }));
    let (guesses, honest) = tokio::join!(guesses, honest);
    assert!(honest.iter().all(is_in), "{honest:?}");
    assert!(!guesses.iter().any(is_in));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_counts_by_the_same_address_however_a_proxy_writes_it() {
    let app = FromAnywhere::new().await;
    // Two people behind one proxy, each in the forms that proxies use.
    for (header, one, other) in [
        ("x-forwarded-for", "203.0.113.1:40000", "203.0.113.2:40001"),
        ("x-forwarded-for", "[2001:db8:5::1]:4711", "[2001:db8:6::1]:4711"),
        ("forwarded", "for=203.0.113.3", "for=\"203.0.113.4:9\""),
        ("forwarded", "for=\"[2001:db8:7::1]:4711\"", "for=\"[2001:db8:8::1]\";proto=https"),
    ] {
        let sign_in = async |value: &str| {
            let document = "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken } }";
            let input = json!({ "input": { "email": "eve@example.org", "password": "wrong horse battery" } });
            app.0.ask(&[(header, value)], document, input).await.1
        };
        let answers = futures_util::future::join_all((0..20).map(|_| sign_in(one))).await;
        assert!(answers.iter().any(|answer| code(answer) == "RATE_LIMITED"), "{one}: {answers:?}");
        assert_eq!(code(&sign_in(other).await), "UNAUTHENTICATED", "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn making_accounts_and_trying_keys_run_out_for_an_address_and_good_keys_go_on() {
    let app = TestApp::with(&[("RAGBOARD_TRUSTED_PROXIES", "127.0.0.0/8"), ("RAGBOARD_SIGN_UPS_PER_HOUR", "3")]).await;
    let document = "mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken userErrors { path } } }";
    let sign_up = async |address: &str, email: &str| {
        let input = json!({ "input": { "email": email, "password": PASSWORD } });
        app.ask(&[("x-forwarded-for", address)], document, input).await.1
    };
    for email in ["a@example.org", "a@example.org", "b@example.org"] {
        assert_eq!(sign_up("192.0.2.1", email).await.get("errors"), None);
    }
    assert_eq!(code(&sign_up("192.0.2.1", "a@example.org").await), "RATE_LIMITED");
    assert_eq!(sign_up("192.0.2.2", "c@example.org").await.get("errors"), None);

    let owner = app.account("owner@example.org").await;
    crate::support::fixture::api_key(&app, owner.id, "rbk_good", "'{read}'").await;
    let ask = async |address: &str, key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", address)];
        app.ask(&headers, "{ viewer { email } }", Value::Null).await.1
    };
    assert_eq!(ask("192.0.2.1", "rbk_good").await["data"]["viewer"]["email"], "owner@example.org");
    for number in 0..200 {
        assert_eq!(code(&ask("192.0.2.1", &format!("rbk_{number}")).await), "UNAUTHENTICATED");
    }
    assert_eq!(code(&ask("192.0.2.1", "rbk_another").await), "RATE_LIMITED");
    assert_eq!(ask("192.0.2.1", "rbk_good").await["data"]["viewer"]["email"], "owner@example.org");
    assert_eq!(ask("192.0.2.2", "rbk_good").await["data"]["viewer"]["email"], "owner@example.org");
}
