//! What has had its time is removed: all of it, however much, and table by table.

use ragboard::domain::Code;

use crate::support::{app::TestApp, cluster::connect, sql::value};

/// Results of requests of yesterday, and one of today.
const KEYS: &str = "INSERT INTO idempotency_keys (principal_digest, key, request_digest, created_at) \
    SELECT '\\x00', n::text, '\\x00', now() - interval '25 hours' FROM generate_series(1, 12000) n; \
    INSERT INTO idempotency_keys (principal_digest, key, request_digest) VALUES ('\\x00', 'today', '\\x00')";
const COUNT: &str = "SELECT count(*) FROM idempotency_keys";

#[tokio::test(flavor = "multi_thread")]
async fn what_has_piled_up_is_removed_some_thousand_at_a_time() {
    let app = TestApp::new().await;
    app.sql.batch_execute(KEYS).await.unwrap();
    // Nobody waits for a row that somebody uses.
    let holder = connect(&app.url).await;
    holder.batch_execute("BEGIN; SELECT FROM idempotency_keys WHERE key = '1' FOR UPDATE").await.unwrap();
    let before = app.statements();
    assert_eq!(app.app.store.remove_expired().await.unwrap(), 11_999);
    let ran = app.statements_since(&before);
    assert_eq!(ran.iter().filter(|name| **name == "expired.idempotency_keys").count(), 3, "{ran:?}");
    assert_eq!(value(&app.sql, COUNT).await, "2");
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(app.app.store.remove_expired().await.unwrap(), 1);
    assert_eq!(value(&app.sql, COUNT).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_holds_does_not_hold_the_others_up() {
    let app = TestApp::with(&[("DATABASE_STATEMENT_TIMEOUT", "10")]).await;
    app.sql.batch_execute(KEYS).await.unwrap();
    app.sql
        .batch_execute(
            "INSERT INTO mails (purpose, email, created_at, done_at) \
             VALUES ('reset_password', 'a@example.org', now() - interval '49 hours', now() - interval '49 hours')",
        )
        .await
        .unwrap();
    // A table in the middle.
    let holder = connect(&app.url).await;
    holder.batch_execute("BEGIN; LOCK TABLE folder_unlocks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(app.app.store.remove_expired().await.unwrap_err().code(), Code::Timeout);
    assert_eq!(value(&app.sql, COUNT).await, "1");
    assert_eq!(value(&app.sql, "SELECT count(*) FROM mails").await, "0");
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(app.app.store.remove_expired().await.unwrap(), 0);
}
