//! Passwords: changed by who knows them, set anew by who has the mailbox, and nothing told to anybody else.

use serde_json::{Value, json};

use crate::{
    mail::{ALL_SENT, PASSWORD, app_with, mutate, reason, sign_up},
    support::{
        app::{Account, TestApp},
        cluster::connect,
        fixture::api_key,
        mail_server::MailServer,
        socket::Socket,
        sql::{until, value, waiting},
    },
};

const NEXT: &str = "another horse battery";

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Option<Account> {
    let document = "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken user { id } } }";
    let answer = app.answer(None, document, json!({ "input": { "email": email, "password": password } })).await;
    let session = &answer["data"]["signIn"];
    let token = session["accessToken"].as_str()?.to_owned();
    Some(Account { id: session["user"]["id"].as_str().unwrap().parse().unwrap(), token })
}

async fn change(app: &TestApp, who: &Account, current: &str, new: &str) -> Value {
    let input = json!({ "currentPassword": current, "newPassword": new });
    mutate(app, Some(who), "changePassword", "isChanged", input).await
}

async fn ask(app: &TestApp, email: &str) -> Value {
    mutate(app, None, "requestPasswordReset", "isRequested", json!({ "email": email })).await
}

async fn reset(app: &TestApp, token: &str, new: &str) -> Value {
    mutate(app, None, "resetPassword", "isReset", json!({ "token": token, "newPassword": new })).await
}

async fn is_signed_in(app: &TestApp, who: &Account) -> bool {
    app.answer(Some(who), "{ viewer { id } }", Value::Null).await["data"]["viewer"]["id"].is_string()
}

fn not_good() -> (String, Value) {
    ("ValidationError".to_owned(), json!(["token"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_a_password_knows_it_and_ends_all_other_sessions() {
    let app = TestApp::new().await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let elsewhere = sign_in(&app, "ada@example.org", PASSWORD).await.unwrap();
    let bob = sign_up(&app, "bob@example.org", PASSWORD).await;
    let mut socket = Socket::of(app.listen().await, &elsewhere).await;
    for (current, new, path) in [
        ("wrong horse battery", NEXT, "currentPassword"),
        (PASSWORD, "short", "newPassword"),
        (PASSWORD, &"x".repeat(1025), "newPassword"),
        (&"x".repeat(1025), NEXT, "currentPassword"),
    ] {
        let refused = change(&app, &ada, current, new).await;
        assert_eq!(reason(&refused), ("ValidationError".to_owned(), json!([path])));
    }
    assert!(is_signed_in(&app, &elsewhere).await);
    assert_eq!(change(&app, &ada, PASSWORD, NEXT).await["isChanged"], true);
    assert!(is_signed_in(&app, &ada).await && is_signed_in(&app, &bob).await);
    assert!(!is_signed_in(&app, &elsewhere).await, "in this process at once");
    assert_eq!(socket.ended().await, 4401);
    assert!(sign_in(&app, "ada@example.org", PASSWORD).await.is_none());
    assert!(sign_in(&app, "ada@example.org", NEXT).await.is_some());
    let document = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { isChanged } }";
    let input = json!({ "input": { "currentPassword": PASSWORD, "newPassword": NEXT } });
    assert_eq!(app.code(None, document, input).await, "UNAUTHENTICATED");
    // Of two who know it, one is faster; the other one's password is not the account's any more.
    let (one, two) =
        tokio::join!(change(&app, &ada, NEXT, "the first of two"), change(&app, &ada, NEXT, "the second of two"));
    assert_eq!([&one, &two].iter().filter(|answer| answer["isChanged"] == json!(true)).count(), 1, "{one} {two}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_the_current_password_has_to_wait() {
    let app = TestApp::new().await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let document = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { isChanged } }";
    let guess = json!({ "input": { "currentPassword": "wrong horse battery", "newPassword": NEXT } });
    let guesses = (0..12).map(|_| app.answer(Some(&ada), document, guess.clone()));
    let answers = futures_util::future::join_all(guesses).await;
    let early = |answer: &&Value| answer["errors"][0]["extensions"]["code"] == json!("RATE_LIMITED");
    // All come within the first wait, unless the machine is very busy.
    assert!((1..=7).contains(&answers.iter().filter(early).count()), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_set_anew_by_who_has_the_mailbox() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let unused = server.mail("ada@example.org", 1).await.token();
    assert_eq!(ask(&app, " Ada@Example.org ").await["isRequested"], true);
    let mail = server.mail("ada@example.org", 2).await;
    assert!(mail.data.contains("\nhttps://board.example.org/reset-password#token=reset_"), "{}", mail.data);
    let kept = "SELECT extract(epoch FROM expires_at - created_at)::bigint FROM account_tokens WHERE purpose = 'reset_password'";
    assert_eq!(value(&app.sql, kept).await, (30 * 60).to_string());

    // A token for one purpose is none for the other, and a password that is not acceptable does not use it up.
    assert_eq!(reason(&reset(&app, &unused, NEXT).await), not_good());
    let verify = json!({ "token": mail.token() });
    assert_eq!(reason(&mutate(&app, Some(&ada), "verifyEmail", "user { id }", verify).await), not_good());
    assert_eq!(reason(&reset(&app, &mail.token(), "short").await).1, json!(["newPassword"]));
    let mut socket = Socket::of(app.listen().await, &ada).await;
    api_key(&app, ada.id, "rbk_of_whoever_signed_up", "'{read}'").await;

    let token = mail.token();
    let attempts = futures_util::future::join_all((0..4).map(|_| reset(&app, &token, NEXT))).await;
    assert_eq!(attempts.iter().filter(|attempt| attempt["isReset"] == json!(true)).count(), 1, "{attempts:?}");
    assert_eq!(reason(&reset(&app, &mail.token(), NEXT).await), not_good(), "a token is good once");
    assert!(!is_signed_in(&app, &ada).await, "in this process at once");
    assert_eq!(socket.ended().await, 4401);
    assert!(sign_in(&app, "ada@example.org", PASSWORD).await.is_none());
    let again = sign_in(&app, "ada@example.org", NEXT).await.unwrap();
    let shown = app.data(Some(&again), "{ viewer { emailVerified } }", Value::Null).await;
    assert_eq!(shown["viewer"]["emailVerified"], true);
    // The address was not verified: a key was made by somebody who had not shown that it was theirs.
    let by_key =
        app.ask(&[("authorization", "Bearer rbk_of_whoever_signed_up")], "{ viewer { id } }", Value::Null).await;
    assert_eq!(by_key.0.as_u16(), 401);

    // With a verified address keys stay, because programs use them.
    api_key(&app, ada.id, "rbk_of_ada", "'{read}'").await;
    ask(&app, "ada@example.org").await;
    let third = server.mail("ada@example.org", 3).await.token();
    assert_eq!(reset(&app, &third, PASSWORD).await["isReset"], true);
    assert!(!is_signed_in(&app, &again).await);
    assert_eq!(
        app.ask(&[("authorization", "Bearer rbk_of_ada")], "{ viewer { id } }", Value::Null).await.0.as_u16(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_reset_ends_by_time_by_the_next_and_with_the_account() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    server.mail("ada@example.org", 1).await;
    let mut number = 1;
    let mut next = async || {
        ask(&app, "ada@example.org").await;
        number += 1;
        let token = server.mail("ada@example.org", number).await.token();
        until(&app.sql, ALL_SENT).await;
        token
    };
    let first = next().await;
    let second = next().await;
    assert_eq!(reason(&reset(&app, &first, NEXT).await), not_good(), "the next one replaces it");
    app.sql.batch_execute("UPDATE account_tokens SET expires_at = now() - interval '1 s'").await.unwrap();
    assert_eq!(reason(&reset(&app, &second, NEXT).await), not_good(), "expired");
    let third = next().await;
    app.sql.batch_execute("UPDATE users SET is_active = false").await.unwrap();
    assert_eq!(reason(&reset(&app, &third, NEXT).await), not_good(), "deactivated");
    app.sql.batch_execute("UPDATE users SET is_active = true").await.unwrap();
    let fourth = next().await;
    app.sql.batch_execute("UPDATE users SET email = 'new@example.org'").await.unwrap();
    assert_eq!(reason(&reset(&app, &fourth, NEXT).await), not_good(), "sent to another address");
    app.sql.batch_execute("UPDATE users SET email = 'ada@example.org'").await.unwrap();
    let fifth = next().await;
    assert_eq!(change(&app, &ada, PASSWORD, NEXT).await["isChanged"], true);
    assert_eq!(reason(&reset(&app, &fifth, PASSWORD).await), not_good(), "changed by who knows it");
    for token in ["", "reset_", &"x".repeat(100_000), "\u{0}"] {
        assert_eq!(reason(&reset(&app, token, NEXT).await), not_good(), "{token:.20}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_reset_tells_nobody_who_has_an_account() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    sign_up(&app, "ada@example.org", PASSWORD).await;
    sign_up(&app, "gone@example.org", PASSWORD).await;
    app.sql.batch_execute("UPDATE users SET is_active = false WHERE email = 'gone@example.org'").await.unwrap();
    let mut seen = Vec::new();
    for email in ["ada@example.org", "nobody@example.org", "gone@example.org"] {
        // As often as there are mails in an hour, and then some.
        for _ in 0..7 {
            let before = app.statements();
            let answer = ask(&app, email).await;
            seen.push((answer, app.statements_since(&before)));
        }
    }
    let (unlike, like): (Vec<_>, Vec<_>) = seen.iter().enumerate().partition(|(number, one)| **one != seen[number % 7]);
    assert!(unlike.is_empty() && like.len() == 21, "{unlike:?}");
    assert_eq!(seen[0].0["isRequested"], true);
    until(&app.sql, "SELECT bool_and(done_at IS NOT NULL) FROM mails").await;
    let sent = "SELECT count(*) FROM mails WHERE purpose = 'reset_password' AND email = 'ada@example.org'";
    assert_eq!(value(&app.sql, sent).await, "5");
    // The one for signing up, and five.
    assert_eq!(server.received("ada@example.org").len(), 6);
    assert!(server.received("nobody@example.org").is_empty());
    assert_eq!(server.received("gone@example.org").iter().filter(|mail| mail.data.contains("reset_")).count(), 0);
    assert_eq!(value(&app.sql, "SELECT count(*) FROM account_tokens WHERE purpose = 'reset_password'").await, "1");
    assert_eq!(reason(&ask(&app, "nonsense").await), ("ValidationError".to_owned(), json!(["email"])));

    // Who asks for many addresses has to wait.
    let document =
        "mutation ($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) { isRequested } }";
    let mut codes = Vec::new();
    for number in 0..12 {
        let input = json!({ "input": { "email": format!("nobody{number}@example.org") } });
        let answer = app.answer(None, document, input).await;
        codes.push(answer.pointer("/errors/0/extensions/code").cloned().unwrap_or_default());
    }
    assert_eq!(codes[8..10], [Value::Null, json!("RATE_LIMITED")], "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_nobody_is_told_that_a_mail_is_on_its_way() {
    let app = TestApp::with(&[("RAGBOARD_ENV", "qa")]).await;
    sign_up(&app, "ada@example.org", PASSWORD).await;
    for email in ["ada@example.org", "nobody@example.org"] {
        assert_eq!(reason(&ask(&app, email).await), ("PermissionError".to_owned(), json!([])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_with_a_password_that_is_changed_while_it_is_looked_at() {
    let app = TestApp::new().await;
    sign_up(&app, "ada@example.org", PASSWORD).await;
    let holder = connect(&app.url).await;
    // As whoever sets another password: the sign-in has read the one of before, which is the right one.
    holder.batch_execute("BEGIN; UPDATE users SET password_hash = '-'").await.unwrap();
    let (signed_in, ()) = tokio::join!(sign_in(&app, "ada@example.org", PASSWORD), async {
        until(&app.sql, &waiting(1)).await;
        holder.batch_execute("COMMIT").await.unwrap();
    });
    assert!(signed_in.is_none());
    // Those of signing up: an address, and a device.
    assert_eq!(value(&app.sql, "SELECT count(*) FROM refresh_tokens").await, "1");
    assert_eq!(value(&app.sql, "SELECT count(*) FROM sign_in_places").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_what_begins_at_the_same_moment() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    sign_up(&app, "ada@example.org", PASSWORD).await;
    server.mail("ada@example.org", 1).await;
    ask(&app, "ada@example.org").await;
    let token = server.mail("ada@example.org", 2).await.token();
    until(&app.sql, ALL_SENT).await;
    let holder = connect(&app.url).await;
    holder.batch_execute("BEGIN; SELECT FROM users FOR NO KEY UPDATE").await.unwrap();
    let signing_in = sign_in(&app, "ada@example.org", PASSWORD);
    let resetting = async {
        until(&app.sql, &waiting(1)).await;
        reset(&app, &token, NEXT).await
    };
    let (session, answer, ()) = tokio::join!(signing_in, resetting, async {
        until(&app.sql, &waiting(2)).await;
        holder.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(answer["isReset"], true);
    // Whichever came first.
    if let Some(session) = session {
        assert!(!is_signed_in(&app, &session).await);
    }
    assert_eq!(value(&app.sql, "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL").await, "0");
    // Whoever knew the old password is known nowhere; who has set the new one is, and guesses do not keep him out.
    assert_eq!(value(&app.sql, "SELECT string_agg(is_device::text, ' ') FROM sign_in_places").await, "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_password_ends_what_begins_at_the_same_moment() {
    let app = TestApp::new().await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let holder = connect(&app.url).await;
    holder.batch_execute("BEGIN; SELECT FROM users FOR NO KEY UPDATE").await.unwrap();
    let changing = async {
        until(&app.sql, &waiting(1)).await;
        change(&app, &ada, PASSWORD, NEXT).await
    };
    let (session, answer, ()) = tokio::join!(sign_in(&app, "ada@example.org", PASSWORD), changing, async {
        until(&app.sql, &waiting(2)).await;
        holder.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(answer["isChanged"], true);
    if let Some(session) = session {
        assert!(!is_signed_in(&app, &session).await);
    }
    assert!(is_signed_in(&app, &ada).await);
    assert_eq!(value(&app.sql, "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_many_resets_does_not_keep_the_holder_without_a_link() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    sign_up(&app, "ada@example.org", PASSWORD).await;
    for _ in 0..7 {
        ask(&app, "ada@example.org").await;
    }
    server.mail("ada@example.org", 6).await;
    until(&app.sql, ALL_SENT).await;
    // Half an hour later there is no good link any more; within the hour there were five mails.
    app.sql
        .batch_execute(
            "UPDATE account_tokens SET created_at = created_at - interval '31 min', \
             expires_at = expires_at - interval '31 min' WHERE purpose = 'reset_password'; \
             UPDATE mails SET created_at = created_at - interval '31 min', done_at = done_at - interval '31 min'",
        )
        .await
        .unwrap();
    ask(&app, "ada@example.org").await;
    let mail = server.mail("ada@example.org", 7).await;
    // That one lives, so others are not sent.
    ask(&app, "ada@example.org").await;
    assert_eq!(value(&app.sql, "SELECT count(*) FROM mails WHERE purpose = 'reset_password'").await, "6");
    assert_eq!(reset(&app, &mail.token(), NEXT).await["isReset"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_does_not_arrive_spoils_no_link() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    sign_up(&app, "ada@example.org", PASSWORD).await;
    server.mail("ada@example.org", 1).await;
    ask(&app, "ada@example.org").await;
    let good = server.mail("ada@example.org", 2).await.token();
    until(&app.sql, ALL_SENT).await;
    // A stranger asks for one more, and the mail server does not answer.
    server.hold(true);
    ask(&app, "ada@example.org").await;
    until(&app.sql, "SELECT count(*) = 2 FROM account_tokens WHERE purpose = 'reset_password'").await;
    assert_eq!(reset(&app, &good, NEXT).await["isReset"], true);
    // With the one that was used all others end, for whatever they are.
    assert_eq!(value(&app.sql, "SELECT count(*) FROM account_tokens").await, "0");
    server.hold(false);
    let late = server.mail("ada@example.org", 3).await.token();
    assert_eq!(reason(&reset(&app, &late, PASSWORD).await), not_good());
}
