//! Removing what has had its time: table by table, and of each some thousand rows in a statement. So no statement takes
//! long, whatever has piled up, and what goes wrong with one table holds the others up no longer than that statement.

use diesel::sql_types::BigInt;

use super::{Store, statement::Statement};
use crate::domain::{Error, Result};

/// Rows that one statement removes.
const AT_ONCE: i64 = 5_000;

/// Name of the statement, table, and what of its rows `e` has had its time.
type Expiry = (&'static str, &'static str, &'static str);

/// A job whose text is still not searchable stays: by it answers know that they are not complete.
const EXPIRED: [Expiry; 8] = [
    ("expired.idempotency_keys", "idempotency_keys", "e.created_at < now() - interval '24 hours'"),
    ("expired.refresh_tokens", "refresh_tokens", "e.expires_at < now() - interval '30 days'"),
    ("expired.sessions", "sessions", "e.expires_at < now() - interval '30 days'"),
    ("expired.folder_unlocks", "folder_unlocks", "e.expires_at < now()"),
    ("expired.sign_in_places", "sign_in_places", "e.last_used_at < now() - interval '90 days'"),
    ("expired.account_tokens", "account_tokens", "e.expires_at < now()"),
    ("expired.mails", "mails", "e.created_at < now() - interval '48 hours'"),
    (
        "expired.jobs",
        "processing_jobs",
        "e.completed_at < now() - interval '30 days' AND e.status IN ('completed', 'failed', 'cancelled') \
         AND e.worker IS NULL AND NOT (e.status <> 'completed' AND e.job_type = 'extract_text' \
         AND EXISTS (SELECT FROM nodes n WHERE n.id = e.resource_id AND n.deleted_at IS NULL) \
         AND NOT EXISTS (SELECT FROM indexed_resources x WHERE x.node_id = e.resource_id \
         AND x.indexed_at >= e.completed_at))",
    ),
];

/// Removes some rows, and counts them. One that somebody else holds, or changes meanwhile, is left to the next time.
fn remove_some((name, table, condition): Expiry) -> Statement<BigInt> {
    Statement::new(name)
        .sql("WITH gone AS (DELETE FROM ")
        .sql(table)
        .sql(" WHERE ctid = ANY(ARRAY(SELECT e.ctid FROM ")
        .sql(table)
        .sql(" e WHERE ")
        .sql(condition)
        .sql(" LIMIT ")
        .bind::<BigInt, _>(AT_ONCE)
        .sql(" FOR UPDATE OF e SKIP LOCKED)) RETURNING 1) SELECT count(*) FROM gone")
}

impl Store {
    /// Removes what has had its time: results of requests after a day, refresh tokens, sessions and jobs a month after
    /// their end, places of sign-ins after 90 days, mails after two days; how many rows that were.
    ///
    /// # Errors
    /// The first one of the database. The other tables are done all the same.
    pub async fn remove_expired(&self) -> Result<i64> {
        let mut removed = 0;
        let mut failure: Option<Error> = None;
        for expiry in EXPIRED {
            match self.remove_all(expiry).await {
                Ok(count) => removed += count,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    async fn remove_all(&self, expiry: Expiry) -> Result<i64> {
        let mut removed = 0;
        loop {
            let rows: Vec<i64> = self.fetch(|| remove_some(expiry)).await?;
            let count: i64 = rows.into_iter().sum();
            removed += count;
            if count < AT_ONCE {
                return Ok(removed);
            }
        }
    }
}
