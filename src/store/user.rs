//! Accounts in PostgreSQL.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{Store, statement::Statement};
use crate::domain::{Result, Stamp, User, UserId, ports::Users};

/// Columns of an account `u`, in the order of [`UserRow`].
pub(super) const USER_COLUMNS: &str = "u.id, u.email, u.email_verified, u.name, u.avatar_url, u.settings, \
    u.subscription_tier, u.created_at, u.updated_at, u.last_login_at, u.is_active, u.xmin::text::bigint";

pub(super) type UserSql = (
    SqlUuid,
    Text,
    Bool,
    Nullable<Text>,
    Nullable<Text>,
    Jsonb,
    Text,
    Timestamptz,
    Timestamptz,
    Nullable<Timestamptz>,
    Bool,
    BigInt,
);

pub(super) type UserRow = (
    Uuid,
    String,
    bool,
    Option<String>,
    Option<String>,
    Value,
    String,
    DateTime<Utc>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    bool,
    Stamp,
);

pub(super) fn user_from(row: UserRow) -> User {
    let (
        id,
        email,
        email_verified,
        name,
        avatar_url,
        settings,
        tier,
        created_at,
        updated_at,
        last_login_at,
        active,
        stamp,
    ) = row;
    User {
        id: UserId(id),
        email,
        email_verified,
        name,
        avatar_url,
        settings,
        subscription_tier: tier,
        created_at,
        updated_at,
        last_login_at,
        is_active: active,
        stamp,
    }
}

#[async_trait]
impl Users for Store {
    async fn users(&self, ids: &[UserId]) -> Result<Vec<Option<Arc<User>>>> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<UserRow> = self
            .fetch(|| {
                Statement::<UserSql>::new("users.by_id")
                    .sql("SELECT ")
                    .sql(USER_COLUMNS)
                    .sql(" FROM users u WHERE u.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(wanted.clone())
                    .sql(")")
            })
            .await?;
        let found: HashMap<Uuid, Arc<User>> = rows.into_iter().map(|row| (row.0, Arc::new(user_from(row)))).collect();
        Ok(ids.iter().map(|id| found.get(&id.0).cloned()).collect())
    }
}

impl Store {
    /// The account with this address, in any case of letters.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let email = email.to_lowercase();
        let rows: Vec<UserRow> = self
            .fetch(|| {
                Statement::<UserSql>::new("users.by_email")
                    .sql("SELECT ")
                    .sql(USER_COLUMNS)
                    .sql(" FROM users u WHERE u.email = ")
                    .bind::<Text, _>(email.clone())
            })
            .await?;
        Ok(rows.into_iter().next().map(user_from))
    }

    /// Makes an account, or returns the one that has the address.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ensure_user(&self, email: &str, name: &str, password_hash: &str) -> Result<User> {
        let (email, name, password_hash) = (email.to_lowercase(), name.to_owned(), password_hash.to_owned());
        let rows: Vec<UserRow> = self
            .fetch(|| {
                Statement::<UserSql>::new("users.ensure")
                    .sql("INSERT INTO users AS u (id, email, name, password_hash, email_verified) VALUES (")
                    .bind::<SqlUuid, _>(UserId::generate().0)
                    .sql(", ")
                    .bind::<Text, _>(email.clone())
                    .sql(", ")
                    .bind::<Text, _>(name.clone())
                    .sql(", ")
                    .bind::<Text, _>(password_hash.clone())
                    // Changes nothing, but makes RETURNING answer for the existing row.
                    .sql(", true) ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING ")
                    .sql(USER_COLUMNS)
            })
            .await?;
        rows.into_iter().next().map(user_from).ok_or_else(|| crate::domain::Error::internal("users.ensure: no row"))
    }
}
