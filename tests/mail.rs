//! Mails and what their tokens are good for: addresses are verified, over a real conversation by SMTP.

use std::sync::Arc;

use ragboard::domain::{MailPurpose, Mails};
use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp, new_database},
    cluster::TestFolder,
    fixture::{Board, BoardBuilder},
    mail_server::{self, MailServer},
    program::{Server, client},
    sql::{until, value},
};

/// Settings that name a mail server.
pub(crate) fn by(server: &MailServer) -> Vec<(&'static str, String)> {
    vec![
        ("RAGBOARD_SMTP_URL", server.url()),
        ("RAGBOARD_MAIL_FROM", "RAGBOARD <no-reply@example.org>".to_owned()),
        ("RAGBOARD_PUBLIC_URL", "https://board.example.org/".to_owned()),
        // A server that is held for a while is not taken for one that does not answer.
        ("RAGBOARD_SMTP_TIMEOUT", "120".to_owned()),
    ]
}

/// An application that sends its mails there.
pub(crate) async fn app_with(server: &MailServer, more: &[(&str, &str)]) -> TestApp {
    app_on(new_database().await, server, more).await
}

async fn app_on(url: secrecy::SecretString, server: &MailServer, more: &[(&str, &str)]) -> TestApp {
    let settings = by(server);
    let mut variables: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend_from_slice(more);
    TestApp::on(url, &variables).await
}

/// Somebody who has just signed up.
pub(crate) async fn sign_up(app: &TestApp, email: &str, password: &str) -> Account {
    let document = "mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken user { id } } }";
    let input = json!({ "input": { "email": email, "password": password } });
    let made = app.data(None, document, input).await["signUp"].take();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    Account { id: text(&made["user"]["id"]).parse().unwrap(), token: text(&made["accessToken"]) }
}

pub(crate) const PASSWORD: &str = "correct horse battery";

/// Whether the program knows that all mails were taken over: a moment after the server has them.
pub(crate) const ALL_SENT: &str = "SELECT bool_and(done_at IS NOT NULL) FROM mails";

/// Runs a mutation that answers with a payload.
pub(crate) async fn mutate(app: &TestApp, who: Option<&Account>, name: &str, fields: &str, input: Value) -> Value {
    let kind = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
    let document = format!(
        "mutation ($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ __typename path message }} }} }}"
    );
    app.data(who, &document, json!({ "input": input })).await[name].take()
}

async fn verify(app: &TestApp, who: &Account, token: &str) -> Value {
    mutate(app, Some(who), "verifyEmail", "user { emailVerified }", json!({ "token": token })).await
}

/// The kind and the path of the first reason in a payload.
pub(crate) fn reason(payload: &Value) -> (String, Value) {
    let error = &payload["userErrors"][0];
    (error["__typename"].as_str().unwrap_or_else(|| panic!("not refused: {payload}")).to_owned(), error["path"].clone())
}

fn not_good() -> (String, Value) {
    ("ValidationError".to_owned(), json!(["token"]))
}

async fn is_verified(app: &TestApp, who: &Account) -> bool {
    app.data(Some(who), "{ viewer { emailVerified } }", Value::Null).await["viewer"]["emailVerified"] == json!(true)
}

async fn invite(app: &TestApp, owner: &Account, board: &Board, email: &str) {
    let input = json!({ "boardId": board.id.to_string(), "email": email, "role": "VIEW" });
    mutate(app, Some(owner), "inviteCollaborator", "invitation { email }", input).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_for_who_has_shown_that_the_address_is_theirs() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Plans").nodes(3).make(&app).await;
    let guest = sign_up(&app, " Guest@Example.org ", PASSWORD).await;
    invite(&app, &owner, &board, "guest@example.org").await;

    let invitations = async || {
        app.data(Some(&guest), "{ viewer { emailVerified invitations { boardName } } }", Value::Null).await["viewer"]
            .take()
    };
    assert_eq!(invitations().await, json!({ "emailVerified": false, "invitations": [] }));
    let accept = async || {
        let input = json!({ "boardId": board.id.to_string() });
        mutate(&app, Some(&guest), "acceptInvitation", "board { name }", input).await
    };
    assert_eq!(reason(&accept().await), ("PermissionError".to_owned(), json!(["boardId"])));
    // The same where there is no invitation: nothing is told of what is meant for the holder of the address.
    let nowhere = json!({ "boardId": ragboard::domain::BoardId::generate().to_string() });
    let refused = mutate(&app, Some(&guest), "acceptInvitation", "board { name }", nowhere).await;
    assert_eq!(reason(&refused), ("PermissionError".to_owned(), json!(["boardId"])));

    let mail = server.mail("guest@example.org", 1).await;
    assert_eq!(mail.from, "no-reply@example.org");
    for line in ["Subject: Verify your e-mail address", "To: guest@example.org", "Auto-Submitted: auto-generated"] {
        assert!(mail.data.lines().any(|other| other == line), "{line}\n{}", mail.data);
    }
    assert!(mail.data.contains("\nhttps://board.example.org/verify-email#token=verify_"), "{}", mail.data);
    let verified = verify(&app, &guest, &mail.token()).await;
    assert_eq!((&verified["user"]["emailVerified"], &verified["userErrors"]), (&json!(true), &json!([])));
    assert_eq!(invitations().await, json!({ "emailVerified": true, "invitations": [{ "boardName": "Plans" }] }));
    assert_eq!(accept().await["board"]["name"], "Plans");
    assert_eq!(reason(&verify(&app, &guest, &mail.token()).await), not_good(), "a token is good once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_for_its_account_its_address_and_its_time() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    let eve = sign_up(&app, "eve@example.org", PASSWORD).await;
    let first = server.mail("ada@example.org", 1).await.token();
    // Whoever opens a link that was sent to them verifies their own account, and none that somebody else has made.
    assert_eq!(reason(&verify(&app, &eve, &first).await), not_good());
    let document = "mutation ($input: VerifyEmailInput!) { verifyEmail(input: $input) { user { id } } }";
    assert_eq!(app.code(None, document, json!({ "input": { "token": first } })).await, "UNAUTHENTICATED");
    for token in ["", "verify_", &"x".repeat(100_000), "\u{0}"] {
        assert_eq!(reason(&verify(&app, &ada, token).await), not_good(), "{token:.20}");
    }
    let again = async || mutate(&app, Some(&ada), "requestEmailVerification", "isRequested", json!({})).await;
    assert_eq!(again().await["isRequested"], true);
    let second = server.mail("ada@example.org", 2).await.token();
    until(&app.sql, ALL_SENT).await;
    assert_eq!(reason(&verify(&app, &ada, &first).await), not_good(), "the next one replaces it");

    let expiry = "UPDATE account_tokens SET expires_at = now() - interval '1 s'";
    app.sql.batch_execute(expiry).await.unwrap();
    assert_eq!(reason(&verify(&app, &ada, &second).await), not_good(), "expired");
    app.sql.batch_execute("UPDATE account_tokens SET expires_at = now() + interval '1 h'").await.unwrap();
    app.sql.batch_execute("UPDATE users SET email = 'new@example.org' WHERE email = 'ada@example.org'").await.unwrap();
    assert_eq!(reason(&verify(&app, &ada, &second).await), not_good(), "sent to another address");
    assert!(!is_verified(&app, &ada).await);
    app.sql.batch_execute("UPDATE users SET email = 'ada@example.org' WHERE email = 'new@example.org'").await.unwrap();
    // The program hears of what is changed beside it by its next look.
    let email = async || app.data(Some(&ada), "{ viewer { email } }", Value::Null).await["viewer"]["email"].take();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while email().await != "ada@example.org" {
        assert!(tokio::time::Instant::now() < deadline, "the old address never came back");
    }

    assert_eq!(again().await["isRequested"], true);
    let third = server.mail("ada@example.org", 3).await.token();
    until(&app.sql, ALL_SENT).await;
    let digest = ragboard::access::token_digest(&third).to_vec();
    let kept = "SELECT token_digest, extract(epoch FROM expires_at - created_at)::bigint FROM account_tokens \
        WHERE email = 'ada@example.org'";
    let row = app.sql.query_one(kept, &[]).await.unwrap();
    assert_eq!((row.get::<_, Vec<u8>>(0), row.get::<_, i64>(1)), (digest, 24 * 3600));
    // Of many that come at the same moment, one gets through.
    let attempts = futures_util::future::join_all((0..8).map(|_| verify(&app, &ada, &third))).await;
    assert_eq!(attempts.iter().filter(|attempt| attempt["user"]["emailVerified"] == json!(true)).count(), 1);
    assert!(is_verified(&app, &ada).await && !is_verified(&app, &eve).await);
    assert_eq!(reason(&again().await).0, "ValidationError", "verified accounts need no mail");
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_to_an_address_and_wrong_tokens_are_bounded() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    // One was sent by signing up; of twenty that are asked for at once, the rest of five are.
    let requests = (0..20).map(|_| mutate(&app, Some(&ada), "requestEmailVerification", "isRequested", json!({})));
    let answers = futures_util::future::join_all(requests).await;
    assert_eq!(answers.iter().filter(|answer| answer["isRequested"] == json!(true)).count(), 4);
    let refused: Vec<_> = answers.iter().filter(|answer| answer["isRequested"] == json!(false)).map(reason).collect();
    assert_eq!(refused, vec![("LimitError".to_owned(), json!([])); 16]);
    until(&app.sql, "SELECT bool_and(done_at IS NOT NULL) FROM mails").await;
    assert_eq!(server.received("ada@example.org").len(), 5);
    app.sql.batch_execute("UPDATE mails SET created_at = created_at - interval '1 h'").await.unwrap();
    let later = mutate(&app, Some(&ada), "requestEmailVerification", "isRequested", json!({})).await;
    assert_eq!(later["isRequested"], true);

    let document = "mutation ($input: VerifyEmailInput!) { verifyEmail(input: $input) { userErrors { message } } }";
    let guesses = (0..40).map(|number| {
        let guess = json!({ "input": { "token": format!("verify_{number}") } });
        app.answer(Some(&ada), document, guess)
    });
    let answers = futures_util::future::join_all(guesses).await;
    let limited = |answer: &&Value| answer["errors"][0]["extensions"]["code"] == json!("RATE_LIMITED");
    assert_eq!(answers.iter().filter(limited).count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_sent_after_the_answer_and_again_until_it_is_taken() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    // The server says nothing until the account is made and used: nobody waits for it.
    server.hold(true);
    server.refuse(1);
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    until(&app.sql, "SELECT attempts = 1 FROM mails").await;
    assert!(!is_verified(&app, &ada).await);
    server.hold(false);
    // Refused once, it comes with another token, which is the good one.
    let mail = server.mail("ada@example.org", 1).await;
    assert_eq!(value(&app.sql, "SELECT attempts FROM mails").await, "2");
    assert_eq!(verify(&app, &ada, &mail.token()).await["user"]["emailVerified"], true);
    until(&app.sql, "SELECT done_at IS NOT NULL FROM mails").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_nobody_takes_is_given_up() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    server.refuse(u32::MAX);
    sign_up(&app, "ada@example.org", PASSWORD).await;
    until(&app.sql, "SELECT attempts >= 1 FROM mails").await;
    // As if it had been tried for two hours.
    app.sql.batch_execute("UPDATE mails SET attempts = 7, scheduled_for = now()").await.unwrap();
    until(&app.sql, "SELECT done_at IS NOT NULL AND attempts = 8 FROM mails").await;
    assert!(server.received("ada@example.org").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_was_asked_for_outlives_the_program() {
    let url = new_database().await;
    let asked = TestApp::on(url.clone(), &[("RAGBOARD_ENV", "qa")]).await;
    let ada = sign_up(&asked, "ada@example.org", PASSWORD).await;
    // Without a server there is no way out, and whoever needs a mail is told.
    let refused = mutate(&asked, Some(&ada), "requestEmailVerification", "isRequested", json!({})).await;
    assert_eq!(reason(&refused), ("PermissionError".to_owned(), json!([])));
    drop(asked);
    let server = MailServer::start().await;
    let app = app_on(url, &server, &[]).await;
    let mail = server.mail("ada@example.org", 1).await;
    assert_eq!(verify(&app, &ada, &mail.token()).await["user"]["emailVerified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_send_a_mail_once_and_nobody_gets_one_who_needs_none() {
    let server = MailServer::start().await;
    let app = app_with(&server, &[]).await;
    let other = app_on(app.url.clone(), &server, &[]).await;
    // Accounts that operators and imports make are verified, and rows that come past the gateway are left alone.
    app.account("trusted@example.org").await;
    app.sql
        .batch_execute(
            "SET ragboard.gateway = 'off'; INSERT INTO users (email, password_hash) VALUES ('past@example.org', '-'); \
             SET ragboard.gateway = 'on'",
        )
        .await
        .unwrap();
    for number in 0..12 {
        let on = if number % 2 == 0 { &app } else { &other };
        sign_up(on, &format!("ada{number}@example.org"), PASSWORD).await;
    }
    // Of an address without an account a mail may be asked for, and is not sent.
    app.app.store.ask_for_mail(MailPurpose::ResetPassword, "nobody@example.org", 5).await.unwrap();
    until(&app.sql, "SELECT count(*) = 13 AND bool_and(done_at IS NOT NULL) FROM mails").await;
    for number in 0..12 {
        assert_eq!(server.received(&format!("ada{number}@example.org")).len(), 1);
    }
    for email in ["trusted@example.org", "past@example.org", "nobody@example.org"] {
        assert!(server.received(email).is_empty(), "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_removed() {
    let app = TestApp::new().await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    until(&app.sql, "SELECT done_at IS NOT NULL FROM mails").await;
    assert_eq!(app.app.store.remove_expired().await.unwrap(), 0);
    app.sql
        .batch_execute(
            "UPDATE mails SET created_at = now() - interval '49 h'; UPDATE account_tokens SET expires_at = now() - interval '1 s'; \
             UPDATE sessions SET expires_at = now() - interval '31 days'",
        )
        .await
        .unwrap();
    assert_eq!(app.app.store.remove_expired().await.unwrap(), 3);
    assert!(!is_verified(&app, &ada).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sends_by_starttls_with_its_password() {
    let folder = TestFolder::new("mail");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mails = MailServer::start_with(Some(Arc::new(tls).into())).await;
    let credentials = format!("{}:{}", mail_server::USER, mail_server::PASSWORD);
    let url = format!("smtp://{credentials}@localhost:{}?tls=required", mails.port());
    let variables = [
        ("RAGBOARD_SMTP_URL", url.as_str()),
        ("RAGBOARD_MAIL_FROM", "no-reply@example.org"),
        ("SSL_CERT_FILE", authority.to_str().unwrap()),
        ("RAGBOARD_SEARCH_EMBEDDER", "none"),
        ("RAGBOARD_GRAPHIQL", "off"),
    ];
    let server = Server::start_with(&folder.path().join("data"), &["--no-demo"], &variables).await;
    let document = "mutation { signUp(input: { email: \"ada@example.org\", password: \"correct horse battery\" }) \
        { accessToken } }";
    let request = client().post(server.url("/graphql")).header("content-type", "application/json");
    let answer = request.body(json!({ "query": document }).to_string()).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("accessToken"), "{answer}");
    let mail = mails.mail("ada@example.org", 1).await;
    assert!(mail.token().starts_with("verify_"));
    let log = server.log();
    assert!(!log.contains(mail_server::PASSWORD) && !log.contains(&mail.token()), "{log}");
}
