//! Share links and collaborators in PostgreSQL, as owners deal with them. Redeeming a link is `share.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{
    Store,
    board::permission_from,
    once::Once,
    share::{SHARE_COLUMNS, ShareRow, ShareSql, share_from},
    statement::Statement,
    user::{USER_COLUMNS, UserRow, UserSql, user_from},
};
use crate::domain::{
    BoardId, Collaborator, Error, IdempotencyKey, Invitation, NewShare, Outcome, Permission, Result, Share, ShareId,
    UserId, ports::Sharing,
};

fn role(permission: Permission) -> &'static str {
    match permission {
        Permission::View => "view",
        Permission::Comment => "comment",
        Permission::Edit | Permission::Owner => "edit",
    }
}

type CollaboratorSql = (UserSql, Text, Nullable<Timestamptz>, Timestamptz);
type CollaboratorRow = (UserRow, String, Option<DateTime<Utc>>, DateTime<Utc>);

impl Store {
    /// Runs a statement that returns what it changed; the id of that, or of what this very request changed before.
    pub(super) async fn changed(
        &self,
        request: Option<&IdempotencyKey>,
        statement: Statement<SqlUuid>,
    ) -> Outcome<Option<Uuid>> {
        let mut work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return Ok(Some(id)),
        };
        let rows: Vec<Uuid> = work.run(statement).await?;
        match rows.first() {
            Some(id) => work.finish(*id).await?,
            None => work.give_up().await,
        }
        Ok(rows.first().copied())
    }
}

#[async_trait]
impl Sharing for Store {
    async fn add_share(&self, share: NewShare, request: Option<&IdempotencyKey>) -> Outcome<ShareId> {
        let statement = Statement::<SqlUuid>::new("sharing.add_share")
            .sql(
                "INSERT INTO board_shares (id, board_id, shared_by, token_digest, permission, password_hash, max_uses, \
                 expires_at) VALUES (",
            )
            .bind::<SqlUuid, _>(share.id.0)
            .sql(", ")
            .bind::<SqlUuid, _>(share.board.0)
            .sql(", ")
            .bind::<SqlUuid, _>(share.by.0)
            .sql(", ")
            .bind::<Binary, _>(share.token.to_vec())
            .sql(", ")
            .bind::<Text, _>(role(share.permission))
            .sql("::text::share_permission, ")
            .bind::<Nullable<Text>, _>(share.password_hash)
            .sql(", ")
            .bind::<Nullable<Integer>, _>(share.max_uses)
            .sql(", ")
            .bind::<Nullable<Timestamptz>, _>(share.expires_at)
            .sql(") RETURNING id");
        let id = self.changed(request, statement).await?;
        id.map(ShareId).ok_or_else(|| Error::internal("sharing.add_share: no row").into())
    }

    async fn revoke_share(&self, board: BoardId, share: ShareId, request: Option<&IdempotencyKey>) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.revoke_share")
            .sql("UPDATE board_shares s SET revoked_at = coalesce(s.revoked_at, now()) WHERE s.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND s.id = ")
            .bind::<SqlUuid, _>(share.0)
            .sql(" RETURNING s.id");
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn share(&self, share: ShareId) -> Result<Option<Arc<Share>>> {
        let rows: Vec<ShareRow> = self
            .fetch(|| {
                Statement::<ShareSql>::new("sharing.share")
                    .sql("SELECT ")
                    .sql(SHARE_COLUMNS)
                    .sql(" FROM board_shares s WHERE s.id = ")
                    .bind::<SqlUuid, _>(share.0)
            })
            .await?;
        rows.into_iter().next().map(|row| share_from(row).map(Arc::new)).transpose()
    }

    async fn shares(&self, board: BoardId, most: i64) -> Result<Vec<Arc<Share>>> {
        let rows: Vec<ShareRow> = self
            .fetch(|| {
                Statement::<ShareSql>::new("sharing.shares")
                    .sql("SELECT ")
                    .sql(SHARE_COLUMNS)
                    .sql(" FROM board_shares s WHERE s.board_id = ")
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" ORDER BY s.id DESC LIMIT ")
                    .bind::<BigInt, _>(most)
            })
            .await?;
        rows.into_iter().map(|row| share_from(row).map(Arc::new)).collect()
    }

    async fn collaborators(&self, board: BoardId, most: i64) -> Result<Vec<Collaborator>> {
        let rows: Vec<CollaboratorRow> = self
            .fetch(|| {
                Statement::<CollaboratorSql>::new("sharing.collaborators")
                    .sql("SELECT ")
                    .sql(USER_COLUMNS)
                    .sql(
                        ", c.role::text, c.accepted_at, c.created_at FROM board_collaborators c \
                         JOIN users u ON u.id = c.user_id WHERE c.board_id = ",
                    )
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" ORDER BY c.id LIMIT ")
                    .bind::<BigInt, _>(most)
            })
            .await?;
        let collaborator = |(user, role, accepted_at, invited_at): CollaboratorRow| {
            let role = permission_from(&role)?;
            Ok(Collaborator { user: Arc::new(user_from(user)), role, accepted_at, invited_at })
        };
        rows.into_iter().map(collaborator).collect()
    }

    async fn invitations(&self, user: UserId, most: i64) -> Result<Vec<Invitation>> {
        type Row = (Uuid, String, String, DateTime<Utc>);
        let rows: Vec<Row> = self
            .fetch(|| {
                Statement::<(SqlUuid, Text, Text, Timestamptz)>::new("sharing.invitations")
                    .sql(
                        "SELECT b.id, b.name, c.role::text, c.created_at FROM board_collaborators c \
                         JOIN boards b ON b.id = c.board_id AND b.deleted_at IS NULL WHERE c.accepted_at IS NULL AND c.user_id = ",
                    )
                    .bind::<SqlUuid, _>(user.0)
                    .sql(" ORDER BY c.id DESC LIMIT ")
                    .bind::<BigInt, _>(most)
            })
            .await?;
        let invitation = |(board, board_name, role, invited_at): Row| {
            Ok(Invitation { board_id: BoardId(board), board_name, role: permission_from(&role)?, invited_at })
        };
        rows.into_iter().map(invitation).collect()
    }

    async fn invite(
        &self,
        board: BoardId,
        user: UserId,
        as_role: Permission,
        by: UserId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.invite")
            .sql("INSERT INTO board_collaborators AS c (board_id, user_id, role, invited_by) VALUES (")
            .bind::<SqlUuid, _>(board.0)
            .sql(", ")
            .bind::<SqlUuid, _>(user.0)
            .sql(", ")
            .bind::<Text, _>(role(as_role))
            .sql("::text::share_permission, ")
            .bind::<SqlUuid, _>(by.0)
            .sql(") ON CONFLICT (board_id, user_id) DO NOTHING RETURNING c.id");
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn accept(&self, board: BoardId, user: UserId, request: Option<&IdempotencyKey>) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.accept")
            .sql("UPDATE board_collaborators c SET accepted_at = coalesce(c.accepted_at, now()) WHERE c.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND c.user_id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" RETURNING c.id");
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn change_role(
        &self,
        board: BoardId,
        user: UserId,
        to: Permission,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.change_role")
            .sql("UPDATE board_collaborators c SET role = ")
            .bind::<Text, _>(role(to))
            .sql("::text::share_permission WHERE c.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND c.user_id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" RETURNING c.id");
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn remove_collaborator(
        &self,
        board: BoardId,
        user: UserId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.remove")
            .sql("DELETE FROM board_collaborators c WHERE c.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND c.user_id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" RETURNING c.id");
        Ok(self.changed(request, statement).await?.is_some())
    }
}
