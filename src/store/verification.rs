//! Using tokens that were sent by mail, in PostgreSQL. A token is used by deleting it, so it is used once; others of
//! its purpose go with it.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::sql_types::{Binary, Uuid as SqlUuid};

use super::{
    Store,
    statement::Statement,
    user::{USER_COLUMNS, UserRow, UserSql, user_from},
};
use crate::domain::{Result, TokenDigest, User, UserId, Verifications};

#[async_trait]
impl Verifications for Store {
    async fn verify_email(&self, user: UserId, token: &TokenDigest) -> Result<Option<Arc<User>>> {
        let mut connection = self.connection().await?;
        let verify = Statement::<UserSql>::new("verification.verify_email")
            // First the account, then its tokens, as at a reset: so the two do not wait for each other.
            .sql("WITH account AS MATERIALIZED (SELECT u.id FROM users u WHERE u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(
                " FOR NO KEY UPDATE), used AS (DELETE FROM account_tokens t USING account a \
                 WHERE t.purpose = 'verify_email' AND t.expires_at > now() AND t.user_id = a.id AND t.token_digest = ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(
                " RETURNING t.user_id, t.email), others AS (DELETE FROM account_tokens t USING used s \
                 WHERE t.user_id = s.user_id AND t.purpose = 'verify_email' AND t.token_digest <> ",
            )
            .bind::<Binary, _>(token.to_vec())
            .sql(
                ") UPDATE users AS u SET email_verified = true, updated_at = now() FROM used s \
                 WHERE u.id = s.user_id AND u.email = s.email AND u.is_active RETURNING ",
            )
            .sql(USER_COLUMNS);
        let rows: Vec<UserRow> = self.run(&mut connection, verify).await?;
        Ok(rows.into_iter().next().map(|row| Arc::new(user_from(row))))
    }
}
