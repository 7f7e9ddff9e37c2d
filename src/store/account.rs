//! Accounts and sessions in PostgreSQL. A refresh token is used once, however many come with it at the same moment.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Binary, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{
    Store,
    once::Once,
    statement::Statement,
    user::{USER_COLUMNS, UserRow, UserSql, user_from},
};
use crate::domain::{
    Credentials, IdempotencyKey, NewAccount, NewRefreshToken, Outcome, Refreshed, Result, TokenDigest, User, UserId,
    ports::{Accounts, Sessions, Users},
};

impl Store {
    /// Removes what has had its time: results of requests after a day, refresh tokens and jobs a month after their end. A job whose
    /// text is still not searchable stays: by it answers know that they are not complete.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_expired(&self) -> Result<i64> {
        let rows: Vec<i64> = self
            .fetch(|| {
                Statement::<BigInt>::new("expired.remove").sql(
                    "WITH keys AS (DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours' RETURNING 1), \
                     tokens AS (DELETE FROM refresh_tokens WHERE expires_at < now() - interval '30 days' RETURNING 1), \
                     unlocks AS (DELETE FROM folder_unlocks WHERE expires_at < now() RETURNING 1), \
                     jobs AS (DELETE FROM processing_jobs WHERE completed_at < now() - interval '30 days' \
                        AND status IN ('completed', 'failed', 'cancelled') AND worker IS NULL AND NOT (status <> 'completed' \
                        AND job_type = 'extract_text' AND EXISTS (SELECT FROM nodes n WHERE n.id = resource_id \
                        AND n.deleted_at IS NULL) AND NOT EXISTS (SELECT FROM indexed_resources x \
                        WHERE x.node_id = resource_id AND x.indexed_at >= completed_at)) RETURNING 1) \
                     SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM tokens) + (SELECT count(*) FROM unlocks) \
                     + (SELECT count(*) FROM jobs)",
                )
            })
            .await?;
        Ok(rows.first().copied().unwrap_or_default())
    }
}

impl Store {
    /// Runs a statement that returns the account it changed; that, or the one that this very request changed before.
    async fn changed_account(
        &self,
        request: Option<&IdempotencyKey>,
        statement: Statement<UserSql>,
    ) -> Outcome<Option<Arc<User>>> {
        let mut work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return Ok(self.users(&[UserId(id)]).await?.into_iter().next().flatten()),
        };
        let rows: Vec<UserRow> = work.run(statement).await?;
        let user = rows.into_iter().next().map(|row| Arc::new(user_from(row)));
        match &user {
            Some(user) => work.finish(user.id.0).await?,
            None => work.give_up().await,
        }
        Ok(user)
    }
}

#[async_trait]
impl Accounts for Store {
    async fn credentials(&self, email: &str) -> Result<Option<Credentials>> {
        let rows: Vec<(UserRow, String)> = self
            .fetch(|| {
                Statement::<(UserSql, Text)>::new("accounts.credentials")
                    .sql("SELECT ")
                    .sql(USER_COLUMNS)
                    .sql(", u.password_hash FROM users u WHERE u.email = ")
                    .bind::<Text, _>(email.to_owned())
            })
            .await?;
        let credentials = |(row, password_hash)| Credentials { user: Arc::new(user_from(row)), password_hash };
        Ok(rows.into_iter().next().map(credentials))
    }

    async fn create_account(
        &self,
        account: NewAccount,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<User>>> {
        let statement = Statement::<UserSql>::new("accounts.create")
            .sql("INSERT INTO users AS u (id, email, name, password_hash, last_login_at) VALUES (")
            .bind::<SqlUuid, _>(account.id.0)
            .sql(", ")
            .bind::<Text, _>(account.email)
            .sql(", ")
            .bind::<Nullable<Text>, _>(account.name)
            .sql(", ")
            .bind::<Text, _>(account.password_hash)
            .sql(", now()) ON CONFLICT (email) DO NOTHING RETURNING ")
            .sql(USER_COLUMNS);
        self.changed_account(request, statement).await
    }

    async fn update_account(&self, account: User, request: Option<&IdempotencyKey>) -> Outcome<Option<Arc<User>>> {
        let statement = Statement::<UserSql>::new("accounts.update")
            .sql("UPDATE users AS u SET updated_at = now(), name = ")
            .bind::<Nullable<Text>, _>(account.name)
            .sql(", avatar_url = ")
            .bind::<Nullable<Text>, _>(account.avatar_url)
            .sql(", settings = ")
            .bind::<Jsonb, _>(account.settings)
            .sql(" WHERE u.is_active AND u.id = ")
            .bind::<SqlUuid, _>(account.id.0)
            .sql(" RETURNING ")
            .sql(USER_COLUMNS);
        self.changed_account(request, statement).await
    }

    async fn signed_in(&self, user: UserId) -> Result<()> {
        let mut connection = self.connection().await?;
        let statement = Statement::<SqlUuid>::new("accounts.signed_in")
            .sql("UPDATE users u SET last_login_at = now() WHERE u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" RETURNING u.id");
        let _: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(())
    }

    async fn add_refresh_token(&self, token: NewRefreshToken) -> Result<()> {
        let mut connection = self.connection().await?;
        let statement = Statement::<SqlUuid>::new("accounts.add_refresh_token")
            .sql("INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at) VALUES (")
            .bind::<SqlUuid, _>(token.user.0)
            .sql(", ")
            .bind::<SqlUuid, _>(token.family)
            .sql(", ")
            .bind::<Binary, _>(token.digest.to_vec())
            .sql(", ")
            .bind::<Timestamptz, _>(token.expires_at)
            .sql(") RETURNING id");
        let _: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(())
    }

    async fn use_refresh_token(&self, token: &TokenDigest) -> Result<Refreshed> {
        let mut connection = self.connection().await?;
        let take = Statement::<(SqlUuid, SqlUuid)>::new("accounts.use_refresh_token")
            .sql(
                "UPDATE refresh_tokens t SET used_at = now() WHERE t.used_at IS NULL AND t.revoked_at IS NULL \
                 AND t.expires_at > now() AND t.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(" RETURNING t.user_id, t.family_id");
        let taken: Vec<(Uuid, Uuid)> = self.run(&mut connection, take).await?;
        if let Some((user, family)) = taken.into_iter().next() {
            return Ok(Refreshed::Taken { user: UserId(user), family });
        }
        let close = Statement::<SqlUuid>::new("accounts.close_reused")
            .sql(
                "UPDATE refresh_tokens t SET revoked_at = coalesce(t.revoked_at, now()) WHERE t.family_id IN (\
                 SELECT r.family_id FROM refresh_tokens r WHERE r.used_at IS NOT NULL AND r.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(") RETURNING t.id");
        let closed: Vec<Uuid> = self.run(&mut connection, close).await?;
        Ok(if closed.is_empty() { Refreshed::Unknown } else { Refreshed::Reused })
    }

    async fn end_session(&self, token: &TokenDigest) -> Result<Option<Uuid>> {
        let mut connection = self.connection().await?;
        let statement = Statement::<SqlUuid>::new("accounts.end_session")
            .sql(
                "UPDATE refresh_tokens t SET revoked_at = now() WHERE t.revoked_at IS NULL AND t.family_id IN (\
                 SELECT r.family_id FROM refresh_tokens r WHERE r.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(") RETURNING t.family_id");
        let families: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(families.into_iter().next())
    }
}

#[async_trait]
impl Sessions for Store {
    async fn ended_sessions(&self, sessions: &[Uuid]) -> Result<Vec<Uuid>> {
        // Ending a session revokes all its tokens. One that is not known is that of another issuer.
        self.fetch(|| {
            Statement::<SqlUuid>::new("sessions.ended")
                .sql("SELECT DISTINCT t.family_id FROM refresh_tokens t WHERE t.revoked_at IS NOT NULL AND t.family_id = ANY(")
                .bind::<Array<SqlUuid>, _>(sessions.to_vec())
                .sql(")")
        })
        .await
    }

    /// Nothing is remembered here.
    fn forget_session(&self, _: Uuid) {}
}
