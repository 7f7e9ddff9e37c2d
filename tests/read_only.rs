//! Reading only: by configuration, switched while the server runs, and when the database takes no writes.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp, new_database},
    cluster::{TestFolder, connect},
    fixture::BoardBuilder,
    program::Server,
    sql::{until, value},
};

const WRITE: &str = "mutation ($input: CreateBoardInput!) { createBoard(input: $input) { board { id } } }";
const MODE: &str = "{ service { readOnly } boards(first: 10) { nodes { name } } }";

async fn writes(app: &TestApp, who: &Account, name: &str) -> Value {
    app.answer(Some(who), WRITE, json!({ "input": { "name": name } })).await
}

async fn until_read_only(app: &TestApp, who: &Account, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while app.data(Some(who), MODE, Value::Null).await["service"]["readOnly"] != wanted {
        assert!(Instant::now() < deadline, "never became read-only: {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn refused(answer: &Value) -> bool {
    answer["errors"][0]["extensions"]["code"] == "READ_ONLY"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_to_read_only_refuses_writes_and_reads_on() {
    let app = TestApp::with(&[("RAGBOARD_READ_ONLY", "true")]).await;
    let owner = app.account("owner@example.org").await;
    BoardBuilder::new(owner.id, "There").make(&app).await;
    assert!(refused(&writes(&app, &owner, "New").await));
    let read = app.data(Some(&owner), MODE, Value::Null).await;
    assert_eq!(read, json!({ "service": { "readOnly": true }, "boards": { "nodes": [{ "name": "There" }] } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_gateways_are_switched_while_they_run() {
    let one = TestApp::new().await;
    let two = TestApp::on(one.url.clone(), &[]).await;
    let owner = one.account("owner@example.org").await;
    assert_eq!(writes(&one, &owner, "Before").await.get("errors"), None);
    one.app.store.set_read_only(true).await.unwrap();
    for app in [&one, &two] {
        until_read_only(app, &owner, true).await;
        assert!(refused(&writes(app, &owner, "Refused").await));
    }
    one.app.store.set_read_only(false).await.unwrap();
    for (app, name) in [(&one, "One"), (&two, "Two")] {
        until_read_only(app, &owner, false).await;
        assert_eq!(writes(app, &owner, name).await.get("errors"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_makes_its_gateways_read_only() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let url: tokio_postgres::Config = app.url.expose_secret().parse().unwrap();
    let name = url.get_dbname().unwrap().to_owned();
    // As during a failover: connections end, and new ones only read.
    let switch = |mode: &str| {
        format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = {mode}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )
    };
    app.sql.batch_execute(&switch("on")).await.unwrap();
    // A write that comes before the server knows is refused by the database, and says the same.
    let answer = writes(&app, &owner, "Refused").await;
    assert!(refused(&answer) || answer["errors"][0]["extensions"]["code"] == "OVERLOADED", "{answer}");
    until_read_only(&app, &owner, true).await;
    assert!(refused(&writes(&app, &owner, "Refused").await));
    app.sql.batch_execute(&format!("SET default_transaction_read_only = off; {}", switch("off"))).await.unwrap();
    until_read_only(&app, &owner, false).await;
    assert_eq!(writes(&app, &owner, "After").await.get("errors"), None);
}

/// What a server of these tests does without.
const PLAIN: [(&str, &str); 2] = [("RAGBOARD_SEARCH_EMBEDDER", "none"), ("RAGBOARD_GRAPHIQL", "off")];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_to_read_only_makes_no_demo() {
    let folder = TestFolder::new("read-only");
    let variables = [&PLAIN[..], &[("RAGBOARD_READ_ONLY", "true")]].concat();
    let server = Server::start_with(&folder.path().join("data"), &[], &variables).await;
    let log = server.log();
    assert!(log.contains("RAGBOARD is ready") && !log.contains("token of demo@"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_removed_when_writes_are_taken_again() {
    let url = new_database().await;
    let sql = connect(&url).await;
    sql.batch_execute(
        "INSERT INTO service_modes (name) VALUES ('read_only'); \
         INSERT INTO idempotency_keys (principal_digest, key, request_digest, created_at) \
         VALUES ('\\x00', 'old', '\\x00', now() - interval '25 hours')",
    )
    .await
    .unwrap();
    let folder = TestFolder::new("upkeep");
    let variables = [&PLAIN[..], &[("DATABASE_URL", url.expose_secret())]].concat();
    let _server = Server::start_with(&folder.path().join("data"), &[], &variables).await;
    assert_eq!(value(&sql, "SELECT count(*) FROM idempotency_keys").await, "1");
    sql.batch_execute("DELETE FROM service_modes").await.unwrap();
    until(&sql, "SELECT count(*) = 0 FROM idempotency_keys").await;
}
