//! Passwords of accounts in PostgreSQL. What a change ends, it ends in the same transaction.
//!
//! The row of the account is held first, in a statement of its own. Whoever begins a session or makes a key at the same
//! moment holds it, too (`account.rs`, `api_key.rs`). Either it was there before, and is seen and ended by the next
//! statement, or it waits, and then finds another password.

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{
    Store,
    statement::Statement,
    transaction::{begin, end},
};
use crate::domain::{Error, PasswordChange, PasswordReset, Passwords, Result, TokenDigest, UserId};

impl Store {
    async fn change(&self, connection: &mut AsyncPgConnection, change: PasswordChange) -> Result<Option<Vec<Uuid>>> {
        let hold = Statement::<SqlUuid>::new("passwords.hold_account")
            .sql("SELECT u.id FROM users u WHERE u.is_active AND u.id = ")
            .bind::<SqlUuid, _>(change.user.0)
            .sql(" AND u.password_hash = ")
            .bind::<Text, _>(change.from.clone())
            .sql(" FOR NO KEY UPDATE");
        let held: Vec<Uuid> = self.run(connection, hold).await?;
        if held.is_empty() {
            return Ok(None);
        }
        let statement = Statement::<(SqlUuid, Array<SqlUuid>)>::new("passwords.change")
            .sql("WITH changed AS (UPDATE users u SET updated_at = now(), password_hash = ")
            .bind::<Text, _>(change.to)
            .sql(" WHERE u.is_active AND u.id = ")
            .bind::<SqlUuid, _>(change.user.0)
            .sql(" AND u.password_hash = ")
            .bind::<Text, _>(change.from)
            .sql(
                " RETURNING u.id), resets AS (DELETE FROM account_tokens t USING changed c WHERE t.user_id = c.id \
                 AND t.purpose = 'reset_password'), ended AS (UPDATE refresh_tokens t SET revoked_at = now() FROM changed c \
                 WHERE t.user_id = c.id AND t.revoked_at IS NULL AND t.family_id IS DISTINCT FROM ",
            )
            .bind::<Nullable<SqlUuid>, _>(change.keep)
            .sql(" RETURNING t.family_id) SELECT c.id, ARRAY(SELECT DISTINCT e.family_id FROM ended e) FROM changed c");
        let rows: Vec<(Uuid, Vec<Uuid>)> = self.run(connection, statement).await?;
        Ok(rows.into_iter().next().map(|(_, sessions)| sessions))
    }

    async fn reset(
        &self,
        connection: &mut AsyncPgConnection,
        token: &TokenDigest,
        password_hash: &str,
    ) -> Result<Option<PasswordReset>> {
        type Row = (Uuid, String, Vec<Uuid>, Vec<Vec<u8>>);
        let hold = Statement::<SqlUuid>::new("passwords.hold_account_of_reset")
            .sql(
                "SELECT u.id FROM account_tokens t JOIN users u ON u.id = t.user_id AND u.email = t.email \
                 WHERE u.is_active AND t.purpose = 'reset_password' AND t.expires_at > now() AND t.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(" FOR NO KEY UPDATE OF u");
        let held: Vec<Uuid> = self.run(connection, hold).await?;
        if held.is_empty() {
            return Ok(None);
        }
        let statement = Statement::<(SqlUuid, Text, Array<SqlUuid>, Array<Binary>)>::new("passwords.reset")
            .sql(
                "WITH used AS (DELETE FROM account_tokens t WHERE t.purpose = 'reset_password' AND t.expires_at > now() \
                 AND t.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            // Parts of one statement see the table as it was before it.
            .sql(
                " RETURNING t.user_id, t.email), account AS (SELECT u.id, u.email_verified FROM users u JOIN used s \
                 ON s.user_id = u.id AND s.email = u.email WHERE u.is_active), \
                 changed AS (UPDATE users u SET updated_at = now(), email_verified = true, password_hash = ",
            )
            .bind::<Text, _>(password_hash.to_owned())
            .sql(
                " FROM account a WHERE u.id = a.id AND u.is_active RETURNING u.id, u.email), \
                 others AS (DELETE FROM account_tokens t USING changed c WHERE t.user_id = c.id AND t.token_digest <> ",
            )
            .bind::<Binary, _>(token.to_vec())
            // Whoever knew the password before is known nowhere any more.
            .sql(
                "), places AS (DELETE FROM sign_in_places p USING changed c WHERE p.user_id = c.id), \
                 ended AS (UPDATE refresh_tokens t SET revoked_at = now() FROM changed c WHERE t.user_id = c.id \
                 AND t.revoked_at IS NULL RETURNING t.family_id), \
                 keys AS (UPDATE api_keys k SET revoked_at = now() FROM account a WHERE k.user_id = a.id \
                 AND NOT a.email_verified AND k.revoked_at IS NULL RETURNING k.key_digest) \
                 SELECT c.id, c.email, ARRAY(SELECT DISTINCT e.family_id FROM ended e), \
                 ARRAY(SELECT k.key_digest FROM keys k) FROM changed c",
            );
        let rows: Vec<Row> = self.run(connection, statement).await?;
        let reset = |(user, email, sessions, keys): Row| {
            let keys = keys.into_iter().map(TokenDigest::try_from).collect::<Result<Vec<_>, _>>();
            let keys = keys.map_err(|_| Error::internal("api_keys: a digest of another length"))?;
            Ok(PasswordReset { user: UserId(user), email, sessions, keys })
        };
        rows.into_iter().next().map(reset).transpose()
    }
}

#[async_trait]
impl Passwords for Store {
    async fn change_password(&self, change: PasswordChange) -> Result<Option<Vec<Uuid>>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let changed = self.change(&mut connection, change).await;
        end(&mut connection, changed).await
    }

    async fn is_good_for_reset(&self, token: &TokenDigest) -> Result<bool> {
        let rows: Vec<i64> = self
            .fetch(|| {
                Statement::<BigInt>::new("passwords.find_reset")
                    .sql(
                        "SELECT count(*) FROM account_tokens t WHERE t.purpose = 'reset_password' AND t.expires_at > now() \
                         AND t.token_digest = ",
                    )
                    .bind::<Binary, _>(token.to_vec())
            })
            .await?;
        Ok(rows.first().is_some_and(|count| *count > 0))
    }

    async fn reset_password(&self, token: &TokenDigest, password_hash: &str) -> Result<Option<PasswordReset>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let reset = self.reset(&mut connection, token, password_hash).await;
        end(&mut connection, reset).await
    }
}
