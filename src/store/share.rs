//! Share links in PostgreSQL; uses are counted exactly, however many redeem at the same moment.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, board::permission_from, statement::Statement};
use crate::domain::{BoardId, Redemption, Result, Share, ShareId, Stamp, TokenDigest, ports::Shares};

/// Columns of a share link `s`, in the order of [`ShareRow`].
pub(super) const SHARE_COLUMNS: &str = "s.id, s.board_id, s.permission::text, s.password_hash, s.max_uses, s.use_count, \
    s.expires_at, s.revoked_at, (SELECT u.is_active FROM boards b JOIN users u ON u.id = b.user_id WHERE b.id = s.board_id), ";

/// Changes with the row of the link `s` and with that of the owner of its board; it follows [`SHARE_COLUMNS`].
pub(super) const SHARE_STAMP: &str = "hashtextextended(concat_ws(' ', s.xmin, \
        (SELECT u.xmin FROM boards b JOIN users u ON u.id = b.user_id WHERE b.id = s.board_id)), 0)";

pub(super) type ShareSql = (
    SqlUuid,
    SqlUuid,
    Text,
    Nullable<Text>,
    Nullable<Integer>,
    Integer,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Bool,
    BigInt,
);
pub(super) type ShareRow =
    (Uuid, Uuid, String, Option<String>, Option<i32>, i32, Option<DateTime<Utc>>, Option<DateTime<Utc>>, bool, Stamp);

pub(super) fn share_from(row: ShareRow) -> Result<Share> {
    let (id, board_id, permission, password_hash, max_uses, use_count, expires_at, revoked_at, has_active_owner, stamp) =
        row;
    Ok(Share {
        id: ShareId(id),
        board_id: BoardId(board_id),
        permission: permission_from(&permission)?,
        password_hash,
        max_uses,
        use_count,
        expires_at,
        revoked_at,
        has_active_owner,
        stamp,
    })
}

#[async_trait]
impl Shares for Store {
    async fn share_by_token(&self, token: &TokenDigest) -> Result<Option<Arc<Share>>> {
        let digest = token.to_vec();
        let rows: Vec<ShareRow> = self
            .fetch(|| {
                Statement::<ShareSql>::new("shares.by_token")
                    .sql("SELECT ")
                    .sql(SHARE_COLUMNS)
                    .sql(SHARE_STAMP)
                    .sql(" FROM board_shares s WHERE s.token_digest = ")
                    .bind::<Binary, _>(digest.clone())
            })
            .await?;
        rows.into_iter().next().map(|row| share_from(row).map(Arc::new)).transpose()
    }

    async fn redeem_share(&self, share: ShareId, principal: &TokenDigest) -> Result<Redemption> {
        let principal = principal.to_vec();
        // The share's row is locked first, so that of two who want the last use one waits and then sees it taken. The
        // statements may be repeated: a principal that is counted already is granted without being counted again.
        let rows: Vec<bool> = self
            .fetch(|| {
                Statement::<Bool>::new("shares.redeem")
                    .sql("WITH share AS (SELECT id, max_uses, use_count FROM board_shares WHERE id = ")
                    .bind::<SqlUuid, _>(share.0)
                    .sql(
                        " FOR UPDATE), known AS (SELECT 1 FROM board_share_uses u, share WHERE u.share_id = share.id \
                          AND u.principal_digest = ",
                    )
                    .bind::<Binary, _>(principal.clone())
                    .sql("), added AS (INSERT INTO board_share_uses (share_id, principal_digest) SELECT share.id, ")
                    .bind::<Binary, _>(principal.clone())
                    .sql(
                        " FROM share WHERE NOT EXISTS (SELECT 1 FROM known) \
                          AND (share.max_uses IS NULL OR share.use_count < share.max_uses) \
                          ON CONFLICT DO NOTHING RETURNING share_id), \
                         counted AS (UPDATE board_shares s SET use_count = s.use_count + 1, \
                          last_accessed_at = clock_timestamp() FROM added WHERE s.id = added.share_id RETURNING 1) \
                         SELECT EXISTS (SELECT 1 FROM known) OR EXISTS (SELECT 1 FROM counted)",
                    )
            })
            .await?;
        if rows == [true] {
            return Ok(Redemption::Granted);
        }
        // Who waited for the row still saw the uses of before. Whoever held it may have been another request of the
        // same principal, which the next statement sees.
        let rows: Vec<bool> = self
            .fetch(|| {
                Statement::<Bool>::new("shares.is_redeemed")
                    .sql("SELECT EXISTS (SELECT FROM board_share_uses u WHERE u.share_id = ")
                    .bind::<SqlUuid, _>(share.0)
                    .sql(" AND u.principal_digest = ")
                    .bind::<Binary, _>(principal.clone())
                    .sql(")")
            })
            .await?;
        Ok(if rows == [true] { Redemption::Granted } else { Redemption::UsedUp })
    }
}
