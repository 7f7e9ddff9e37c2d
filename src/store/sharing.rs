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
    share::{SHARE_COLUMNS, SHARE_STAMP, ShareRow, ShareSql, share_from},
    statement::Statement,
    user::{USER_COLUMNS, UserRow, UserSql, user_from},
};
use crate::domain::{
    BoardId, Collaborator, IdempotencyKey, Invitation, NewShare, Outcome, Permission, Result, SentInvitation, Share,
    ShareId, UserId,
    ports::{BoardLists, Sharing},
};

/// Whether a share link `d` can still be used.
const IS_LIVING_D: &str = "(d.revoked_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now()))";

fn role(permission: Permission) -> &'static str {
    match permission {
        Permission::View => "view",
        Permission::Comment => "comment",
        Permission::Edit | Permission::Owner => "edit",
    }
}

/// Columns of a collaborator `c` with the account `u`, in the order of [`CollaboratorRow`].
pub(super) const COLLABORATOR_COLUMNS: [&str; 2] = [USER_COLUMNS, ", c.role::text, c.accepted_at, c.created_at"];

pub(super) type CollaboratorSql = (UserSql, Text, Nullable<Timestamptz>, Timestamptz);
pub(super) type CollaboratorRow = (UserRow, String, Option<DateTime<Utc>>, DateTime<Utc>);

pub(super) fn collaborator_from((user, role, accepted_at, invited_at): CollaboratorRow) -> Result<Collaborator> {
    let role = permission_from(&role)?;
    Ok(Collaborator { user: Arc::new(user_from(user)), role, accepted_at, invited_at })
}

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
    async fn add_share(
        &self,
        share: NewShare,
        most: i64,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<ShareId>> {
        let mut work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return Ok(Some(ShareId(id))),
        };
        // Of two that would make the last link, the second waits for the first and then sees it.
        let lock = Statement::<SqlUuid>::new("sharing.lock_board")
            .sql("SELECT b.id FROM boards b WHERE b.id = ")
            .bind::<SqlUuid, _>(share.board.0)
            .sql(" FOR NO KEY UPDATE");
        let _: Vec<Uuid> = work.run(lock).await?;
        let old = Statement::<SqlUuid>::new("sharing.remove_dead")
            .sql("DELETE FROM board_shares s WHERE s.id IN (SELECT d.id FROM board_shares d WHERE d.board_id = ")
            .bind::<SqlUuid, _>(share.board.0)
            .sql(" AND NOT ")
            .sql(IS_LIVING_D)
            .sql(" ORDER BY d.id DESC OFFSET 900) RETURNING s.id");
        let _: Vec<Uuid> = work.run(old).await?;
        let statement = Statement::<SqlUuid>::new("sharing.add_share")
            .sql(
                "INSERT INTO board_shares (id, board_id, shared_by, token_digest, permission, password_hash, max_uses, \
                 expires_at) SELECT n.* FROM (SELECT ",
            )
            .bind::<SqlUuid, _>(share.id.0)
            .sql(", ")
            .bind::<SqlUuid, _>(share.board.0)
            .sql(" AS board_id, ")
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
            .sql(") AS n WHERE (SELECT count(*) FROM board_shares d WHERE d.board_id = n.board_id AND ")
            .sql(IS_LIVING_D)
            .sql(") < ")
            .bind::<BigInt, _>(most)
            .sql(" RETURNING id");
        let made: Vec<Uuid> = work.run(statement).await?;
        match made.first() {
            Some(id) => work.finish(*id).await?,
            None => work.give_up().await,
        }
        Ok(made.first().copied().map(ShareId))
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
                    .sql(SHARE_STAMP)
                    .sql(" FROM board_shares s WHERE s.id = ")
                    .bind::<SqlUuid, _>(share.0)
            })
            .await?;
        rows.into_iter().next().map(|row| share_from(row).map(Arc::new)).transpose()
    }

    async fn collaborators(&self, board: BoardId, most: i64) -> Result<Vec<Collaborator>> {
        let lists = self.collaborator_lists(&[board], most).await?;
        Ok(lists.into_iter().next().map(Arc::unwrap_or_clone).unwrap_or_default())
    }

    async fn invitations(&self, user: UserId, most: i64) -> Result<Vec<Invitation>> {
        type Row = (Uuid, String, String, DateTime<Utc>);
        let rows: Vec<Row> = self
            .fetch(|| {
                Statement::<(SqlUuid, Text, Text, Timestamptz)>::new("sharing.invitations")
                    .sql(
                        "SELECT b.id, b.name, i.role::text, i.created_at FROM (SELECT i.board_id, i.role, i.created_at \
                         FROM board_invitations i JOIN users u ON u.email = i.email WHERE u.id = ",
                    )
                    .bind::<SqlUuid, _>(user.0)
                    .sql(
                        " UNION ALL SELECT c.board_id, c.role, c.created_at FROM board_collaborators c \
                         WHERE c.accepted_at IS NULL AND c.user_id = ",
                    )
                    .bind::<SqlUuid, _>(user.0)
                    .sql(
                        ") AS i JOIN boards b ON b.id = i.board_id AND b.deleted_at IS NULL \
                         ORDER BY i.created_at DESC, b.id DESC LIMIT ",
                    )
                    .bind::<BigInt, _>(most)
            })
            .await?;
        let invitation = |(board, board_name, role, invited_at): Row| {
            Ok(Invitation { board_id: BoardId(board), board_name, role: permission_from(&role)?, invited_at })
        };
        rows.into_iter().map(invitation).collect()
    }

    async fn sent_invitations(&self, board: BoardId, most: i64) -> Result<Vec<SentInvitation>> {
        let rows: Vec<(String, String, DateTime<Utc>)> = self
            .fetch(|| {
                Statement::<(Text, Text, Timestamptz)>::new("sharing.sent_invitations")
                    .sql("SELECT i.email, i.role::text, i.created_at FROM board_invitations i WHERE i.board_id = ")
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" ORDER BY i.id LIMIT ")
                    .bind::<BigInt, _>(most)
            })
            .await?;
        let invitation = |(email, role, invited_at): (String, String, DateTime<Utc>)| {
            Ok(SentInvitation { email, role: permission_from(&role)?, invited_at })
        };
        rows.into_iter().map(invitation).collect()
    }

    async fn invite(
        &self,
        board: BoardId,
        invitation: SentInvitation,
        by: UserId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.invite")
            .sql("INSERT INTO board_invitations AS i (board_id, email, role, invited_by, created_at) SELECT ")
            .bind::<SqlUuid, _>(board.0)
            .sql("::uuid, ")
            .bind::<Text, _>(invitation.email.clone())
            .sql("::text, ")
            .bind::<Text, _>(role(invitation.role))
            .sql("::text::share_permission, ")
            .bind::<SqlUuid, _>(by.0)
            .sql("::uuid, ")
            .bind::<Timestamptz, _>(invitation.invited_at)
            .sql(
                "::timestamptz WHERE NOT EXISTS (SELECT FROM board_collaborators c JOIN users u ON u.id = c.user_id \
                 WHERE c.board_id = ",
            )
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND u.email = ")
            .bind::<Text, _>(invitation.email)
            .sql(") ON CONFLICT (board_id, email) DO NOTHING RETURNING i.board_id");
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn cancel_invitation(&self, board: BoardId, email: &str, request: Option<&IdempotencyKey>) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.cancel_invitation")
            .sql("DELETE FROM board_invitations i WHERE i.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND i.email = ")
            .bind::<Text, _>(email.to_owned())
            .sql(" RETURNING i.board_id");
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn accept(&self, board: BoardId, user: UserId, request: Option<&IdempotencyKey>) -> Outcome<bool> {
        // Accepting again, after the answer was lost, finds the collaborator.
        let statement = Statement::<SqlUuid>::new("sharing.accept")
            .sql("WITH answered AS (DELETE FROM board_invitations i USING users u WHERE u.email = i.email AND u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" AND i.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(
                " RETURNING i.board_id, u.id AS user_id, i.role, i.invited_by, i.created_at) \
                 INSERT INTO board_collaborators AS c (board_id, user_id, role, invited_by, created_at, accepted_at) \
                 SELECT a.board_id, a.user_id, a.role, a.invited_by, a.created_at, now() FROM (SELECT * FROM answered \
                 UNION ALL SELECT o.board_id, o.user_id, o.role, o.invited_by, o.created_at FROM board_collaborators o \
                 WHERE NOT EXISTS (SELECT FROM answered) AND o.user_id = ",
            )
            .bind::<SqlUuid, _>(user.0)
            .sql(" AND o.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(
                ") AS a ON CONFLICT (board_id, user_id) DO UPDATE SET accepted_at = coalesce(c.accepted_at, now()) \
                 RETURNING c.id",
            );
        Ok(self.changed(request, statement).await?.is_some())
    }

    async fn decline(&self, board: BoardId, user: UserId, request: Option<&IdempotencyKey>) -> Outcome<bool> {
        let statement = Statement::<SqlUuid>::new("sharing.decline")
            .sql("DELETE FROM board_invitations i USING users u WHERE u.email = i.email AND i.board_id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" RETURNING i.board_id");
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
