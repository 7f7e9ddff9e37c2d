//! API keys in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, keyset, once::Once, statement::Statement};
use crate::domain::{
    ApiKey, ApiKeyId, ApiKeyScope, Error, IdempotencyKey, NewApiKey, Outcome, Page, PageRequest, Result, Stamp,
    TokenDigest, UserId,
    ports::{ApiKeys, Keys},
};

/// Columns of a key `k`, in the order of [`KeyRow`].
const KEY_COLUMNS: &str = "k.id, k.user_id, k.name, k.key_digest, k.key_prefix, k.scopes, k.created_at, k.expires_at, \
    k.last_used_at, k.revoked_at, k.xmin::text::bigint";

type KeySql = (
    SqlUuid,
    SqlUuid,
    Text,
    Binary,
    Text,
    Array<Text>,
    Timestamptz,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    BigInt,
);
type KeyRow = (
    Uuid,
    Uuid,
    String,
    Vec<u8>,
    String,
    Vec<String>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Stamp,
);

fn key_from(row: KeyRow) -> Result<Arc<ApiKey>> {
    let (id, user, name, digest, prefix, scopes, created_at, expires_at, last_used_at, revoked_at, stamp) = row;
    let unknown = || Error::internal("api_keys: a digest or scope that this program does not know");
    Ok(Arc::new(ApiKey {
        id: ApiKeyId(id),
        user_id: UserId(user),
        name,
        digest: digest.try_into().map_err(|_| unknown())?,
        prefix,
        scope: scopes.iter().filter_map(|scope| ApiKeyScope::from_word(scope)).max().ok_or_else(unknown)?,
        created_at,
        expires_at,
        last_used_at,
        revoked_at,
        stamp,
    }))
}

/// The words of a scope and of those that it includes.
fn words(scope: ApiKeyScope) -> Vec<&'static str> {
    ApiKeyScope::ALL.iter().filter(|included| **included <= scope).map(|included| included.as_str()).collect()
}

fn select(name: &'static str) -> Statement<KeySql> {
    Statement::new(name).sql("SELECT ").sql(KEY_COLUMNS).sql(" FROM api_keys k WHERE ")
}

fn only(rows: Vec<KeyRow>) -> Result<Option<Arc<ApiKey>>> {
    rows.into_iter().next().map(key_from).transpose()
}

impl Store {
    /// A key that an earlier request was about.
    async fn api_key(&self, user: UserId, id: Uuid) -> Result<Option<Arc<ApiKey>>> {
        let by_id = || {
            let statement = select("api_keys.by_id").sql("k.user_id = ").bind::<SqlUuid, _>(user.0);
            statement.sql(" AND k.id = ").bind::<SqlUuid, _>(id)
        };
        only(self.fetch(by_id).await?)
    }
}

#[async_trait]
impl Keys for Store {
    async fn key_by_digest(&self, digest: &TokenDigest) -> Result<Option<Arc<ApiKey>>> {
        let digest = digest.to_vec();
        let by_digest = || select("api_keys.by_digest").sql("k.key_digest = ").bind::<Binary, _>(digest.clone());
        only(self.fetch(by_digest).await?)
    }
}

#[async_trait]
impl ApiKeys for Store {
    async fn add_key(
        &self,
        key: NewApiKey,
        most: i64,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<ApiKey>>> {
        let mut work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return Ok(self.api_key(key.user_id, id).await?),
        };
        // Of two that would make the last key, the second waits for the first and then sees it. So does whoever makes
        // one while a password is changed or reset.
        let lock = Statement::<SqlUuid>::new("api_keys.lock_account")
            .sql("SELECT u.id FROM users u WHERE u.is_active AND u.id = ")
            .bind::<SqlUuid, _>(key.user_id.0)
            .sql(" FOR NO KEY UPDATE");
        let accounts: Vec<Uuid> = work.run(lock).await?;
        let stands = Statement::<Bool>::new("api_keys.maker_stands")
            .sql("SELECT NOT EXISTS (SELECT FROM refresh_tokens t WHERE t.revoked_at IS NOT NULL AND t.family_id = ")
            .bind::<Nullable<SqlUuid>, _>(key.session)
            .sql(") AND NOT EXISTS (SELECT FROM api_keys p WHERE p.revoked_at IS NOT NULL AND p.id = ")
            .bind::<Nullable<SqlUuid>, _>(key.parent.map(|parent| parent.0))
            .sql(")");
        let stands: Vec<bool> = work.run(stands).await?;
        if accounts.is_empty() || stands != [true] {
            work.give_up().await;
            return Err(Error::unauthenticated("What this was asked for with has ended; sign in again").into());
        }
        let add = Statement::<KeySql>::new("api_keys.add")
            .sql(
                "INSERT INTO api_keys AS k (id, user_id, name, key_digest, key_prefix, scopes, expires_at) \
                 SELECT n.* FROM (SELECT ",
            )
            .bind::<SqlUuid, _>(key.id.0)
            .sql(", ")
            .bind::<SqlUuid, _>(key.user_id.0)
            .sql(" AS user_id, ")
            .bind::<Text, _>(key.name)
            .sql(", ")
            .bind::<Binary, _>(key.digest.to_vec())
            .sql(", ")
            .bind::<Text, _>(key.prefix)
            .sql(", ")
            .bind::<Array<Text>, _>(words(key.scope))
            .sql(", ")
            .bind::<Nullable<Timestamptz>, _>(key.expires_at)
            .sql(
                ") AS n WHERE (SELECT count(*) FROM api_keys o WHERE o.user_id = n.user_id AND o.revoked_at IS NULL \
                 AND (o.expires_at IS NULL OR o.expires_at > now())) < ",
            )
            .bind::<BigInt, _>(most)
            .sql(" RETURNING ")
            .sql(KEY_COLUMNS);
        match only(work.run(add).await?)? {
            Some(made) => {
                work.finish(made.id.0).await?;
                Ok(Some(made))
            }
            None => {
                work.give_up().await;
                Ok(None)
            }
        }
    }

    async fn revoke_key(
        &self,
        user: UserId,
        key: ApiKeyId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<ApiKey>>> {
        let mut work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return Ok(self.api_key(user, id).await?),
        };
        let revoke = Statement::<KeySql>::new("api_keys.revoke")
            .sql("UPDATE api_keys k SET revoked_at = coalesce(k.revoked_at, now()) WHERE k.user_id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" AND k.id = ")
            .bind::<SqlUuid, _>(key.0)
            .sql(" RETURNING ")
            .sql(KEY_COLUMNS);
        match only(work.run(revoke).await?)? {
            Some(revoked) => {
                work.finish(revoked.id.0).await?;
                Ok(Some(revoked))
            }
            None => {
                work.give_up().await;
                Ok(None)
            }
        }
    }

    async fn key_page(&self, user: UserId, page: &PageRequest) -> Result<Page<Arc<ApiKey>>> {
        let rows: Vec<KeyRow> = self
            .fetch(|| {
                let statement = select("api_keys.page").sql("k.user_id = ").bind::<SqlUuid, _>(user.0);
                let statement = keyset::bounds(statement, page, true, "k.created_at", "k.id");
                keyset::order_limit(statement, "k.created_at", "k.id", !page.from_end, page.limit)
            })
            .await?;
        Ok(page.cut(rows.into_iter().map(key_from).collect::<Result<_>>()?))
    }

    async fn key_count(&self, user: UserId) -> Result<i64> {
        let rows: Vec<i64> = self
            .fetch(|| {
                Statement::<BigInt>::new("api_keys.count")
                    .sql("SELECT count(*) FROM api_keys k WHERE k.user_id = ")
                    .bind::<SqlUuid, _>(user.0)
            })
            .await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    async fn keys_used(&self, uses: &[(ApiKeyId, DateTime<Utc>)]) -> Result<()> {
        let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = uses.iter().map(|(id, at)| (id.0, *at)).unzip();
        let _: Vec<Uuid> = self
            .fetch(|| {
                Statement::<SqlUuid>::new("api_keys.used")
                    .sql("UPDATE api_keys k SET last_used_at = u.at FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(ids.clone())
                    .sql(", ")
                    .bind::<Array<Timestamptz>, _>(times.clone())
                    // Another process may have noted the same minute.
                    .sql(
                        ") AS u (id, at) WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at) \
                         RETURNING k.id",
                    )
            })
            .await?;
        Ok(())
    }
}
