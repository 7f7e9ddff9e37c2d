//! Mails that are to be sent, in PostgreSQL. The table holds no token: that is made when a mail is sent, and kept as digest.

use std::time::Duration;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Double, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, once::Once, statement::Statement};
use crate::domain::{
    ALMOST_OVER, Asked, Code, Error, Failure, MailOrder, MailPurpose, Mails, Outcome, Result, TokenDigest,
};

/// Mails that may wait to be sent.
const MOST_WAITING: i64 = 10_000;

impl Store {
    async fn ask(&self, purpose: MailPurpose, email: &str, most: i64) -> Outcome<Asked> {
        let Once::Now(mut work) = self.once(None).await? else {
            return Err(Error::internal("mails.ask: done before without a key").into());
        };
        // Of two that would ask for the last mail, the second waits for the first and then sees it.
        let lock = Statement::<Text>::new("mails.lock_address")
            .sql("SELECT pg_advisory_xact_lock(hashtextextended('mail ' || ")
            .bind::<Text, _>(email.to_owned())
            .sql(", 0))::text");
        let _: Vec<String> = work.run(lock).await?;
        // One statement, whatever it finds: from its time nothing can be told about the address. Whether a link lives
        // is told by when its mail was sent. That is known of all addresses, while only accounts have tokens.
        let ask = Statement::<(Bool, BigInt, Array<SqlUuid>)>::new("mails.ask")
            .sql("WITH asked AS (SELECT count(*) < ")
            .bind::<BigInt, _>(most)
            .sql(" OR NOT coalesce(bool_or(m.done_at IS NULL OR m.done_at > now() - make_interval(secs => ")
            .bind::<Double, _>(purpose.lifetime().saturating_sub(ALMOST_OVER).as_secs_f64())
            .sql(")), false) AS may FROM mails m WHERE m.created_at > now() - interval '1 hour' AND m.email = ")
            .bind::<Text, _>(email.to_owned())
            .sql(" AND m.purpose = ")
            .bind::<Text, _>(purpose.as_str())
            .sql("), waiting AS (SELECT count(*) AS n FROM (SELECT FROM mails w WHERE w.done_at IS NULL LIMIT ")
            .bind::<BigInt, _>(MOST_WAITING)
            .sql(") w), added AS (INSERT INTO mails (purpose, email) SELECT ")
            .bind::<Text, _>(purpose.as_str())
            .sql(", ")
            .bind::<Text, _>(email.to_owned())
            .sql(" FROM asked a, waiting w WHERE a.may AND w.n < ")
            .bind::<BigInt, _>(MOST_WAITING)
            .sql(" RETURNING id) SELECT a.may, w.n, ARRAY(SELECT id FROM added) FROM asked a, waiting w");
        let rows: Vec<(bool, i64, Vec<Uuid>)> = work.run(ask).await?;
        let (may, waiting, added) = rows.into_iter().next().unwrap_or_default();
        match added.first() {
            Some(id) => {
                work.finish(*id).await?;
                Ok(Asked::Ordered)
            }
            None => {
                work.give_up().await;
                if may && waiting >= MOST_WAITING {
                    return Err(Error::new(Code::Overloaded, "Too many mails wait to be sent; try again later").into());
                }
                Ok(Asked::Enough)
            }
        }
    }
}

#[async_trait]
impl Mails for Store {
    async fn ask_for_mail(&self, purpose: MailPurpose, email: &str, most: i64) -> Result<Asked> {
        self.ask(purpose, email, most).await.map_err(|failure| match failure {
            Failure::Failed(error) => error,
            Failure::Refused(refusal) => Error::internal(refusal.message),
        })
    }

    async fn claim_mails(&self, most: i64, lease: Duration) -> Result<Vec<MailOrder>> {
        type Row = (Uuid, String, String, i32);
        let mut connection = self.connection().await?;
        let claim = Statement::<(SqlUuid, Text, Text, Integer)>::new("mailing.claim")
            .sql("UPDATE mails m SET attempts = m.attempts + 1, scheduled_for = now() + make_interval(secs => ")
            .bind::<Double, _>(lease.as_secs_f64())
            .sql(
                ") WHERE m.id IN (SELECT d.id FROM mails d WHERE d.done_at IS NULL AND d.scheduled_for <= now() \
                 AND d.created_at > now() - interval '24 hours' ORDER BY d.scheduled_for LIMIT ",
            )
            .bind::<BigInt, _>(most)
            .sql(" FOR UPDATE SKIP LOCKED) RETURNING m.id, m.purpose, m.email, m.attempts");
        let rows: Vec<Row> = self.run(&mut connection, claim).await?;
        let order = |(id, purpose, email, attempts): Row| {
            let unknown = || Error::internal("mails: a purpose that this program does not know");
            let purpose = MailPurpose::from_word(&purpose).ok_or_else(unknown)?;
            Ok(MailOrder { id, purpose, email, attempts: u32::try_from(attempts).unwrap_or_default() })
        };
        rows.into_iter().map(order).collect()
    }

    async fn keep_account_token(&self, purpose: MailPurpose, email: &str, token: &TokenDigest) -> Result<bool> {
        let mut connection = self.connection().await?;
        let keep = Statement::<SqlUuid>::new("mailing.keep_token")
            .sql("INSERT INTO account_tokens (user_id, purpose, token_digest, email, expires_at) SELECT u.id, ")
            .bind::<Text, _>(purpose.as_str())
            .sql(", ")
            .bind::<Binary, _>(token.to_vec())
            .sql(", u.email, now() + make_interval(secs => ")
            .bind::<Double, _>(purpose.lifetime().as_secs_f64())
            .sql(") FROM users u WHERE u.is_active AND u.email = ")
            .bind::<Text, _>(email.to_owned())
            .sql_if(purpose == MailPurpose::VerifyEmail, " AND NOT u.email_verified")
            .sql(" RETURNING user_id");
        let accounts: Vec<Uuid> = self.run(&mut connection, keep).await?;
        Ok(!accounts.is_empty())
    }

    async fn mail_was_sent(&self, id: Uuid, token: &TokenDigest) -> Result<()> {
        let mut connection = self.connection().await?;
        // Older tokens in the order of their age, so that two such statements do not wait for each other. Younger ones
        // are on their way, and end this one when they have arrived.
        let sent = Statement::<SqlUuid>::new("mailing.sent")
            .sql("WITH sent AS (UPDATE mails m SET done_at = now(), scheduled_for = now() WHERE m.id = ")
            .bind::<SqlUuid, _>(id)
            .sql(
                " RETURNING m.id), older AS (SELECT o.token_digest FROM account_tokens n JOIN account_tokens o \
                 ON o.user_id = n.user_id AND o.purpose = n.purpose \
                 AND (o.created_at, o.token_digest) < (n.created_at, n.token_digest) WHERE n.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(
                " ORDER BY o.created_at, o.token_digest FOR UPDATE OF o), replaced AS (DELETE FROM account_tokens t \
                 USING older o WHERE t.token_digest = o.token_digest) SELECT s.id FROM sent s",
            );
        let _: Vec<Uuid> = self.run(&mut connection, sent).await?;
        Ok(())
    }

    async fn settle_mail(&self, id: Uuid, again_in: Option<Duration>) -> Result<()> {
        let mut connection = self.connection().await?;
        let settle = Statement::<SqlUuid>::new("mailing.settle")
            .sql(
                "UPDATE mails m SET done_at = CASE WHEN s.wait IS NULL THEN now() END, scheduled_for = now() \
                  + make_interval(secs => coalesce(s.wait, 0)) FROM (SELECT ",
            )
            .bind::<Nullable<Double>, _>(again_in.map(|wait| wait.as_secs_f64()))
            .sql(" AS wait) s WHERE m.id = ")
            .bind::<SqlUuid, _>(id)
            .sql(" RETURNING m.id");
        let _: Vec<Uuid> = self.run(&mut connection, settle).await?;
        Ok(())
    }
}
