//! Sharing a board: links and collaborators. All of it is for the owner, but for accepting and leaving, which are one's own.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Services,
    change::{WriteOptions, origin},
};
use crate::{
    access::{Granted, Viewer, secret_hash::random_token, token_digest},
    domain::{
        ActivityKind, AnyId, BoardId, BoardRecord, Collaborator, Error, Failure, Invitation, NewShare, Outcome,
        Permission, Refusal, Result, Share, ShareId, UserId,
    },
};

/// Links and collaborators of one board that are shown.
const MOST: i64 = 1_000;
/// Collaborators of one board.
const MAX_COLLABORATORS: usize = 1_000;

/// What a new share link is to be.
pub struct ShareTerms {
    /// What its holder may do.
    pub permission: Permission,
    /// What has to be given along with the token.
    pub password: Option<SecretString>,
    /// How many may redeem it.
    pub max_uses: Option<i32>,
    /// End of its life.
    pub expires_at: Option<DateTime<Utc>>,
}

fn no_board(id: BoardId) -> Refusal {
    Refusal::not_found("boardId", format!("There is no board {id}"))
}

impl Services {
    async fn board_of_owner(&self, viewer: &Viewer, id: BoardId) -> Outcome<Arc<BoardRecord>> {
        let record = self.ports.reads.boards(&[id]).await?.into_iter().flatten().next().ok_or_else(|| no_board(id))?;
        let granted = Granted::check(viewer, &record, Permission::View).ok_or_else(|| no_board(id))?;
        if granted.permission() < Permission::Owner {
            return Err(Refusal::forbidden("boardId", "Only its owner may say who sees a board").into());
        }
        Ok(record)
    }

    /// Makes a share link. The token is told this once: `None` where an earlier request under the same idempotency key made
    /// the link.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn share_board(
        &self,
        viewer: &Viewer,
        board: BoardId,
        terms: ShareTerms,
        options: WriteOptions,
    ) -> Outcome<(Arc<Share>, Option<SecretString>)> {
        let origin = origin(viewer, options)?;
        self.board_of_owner(viewer, board).await?;
        let by = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to share a board"))?.id;
        if terms.permission > Permission::Edit {
            return Err(Refusal::invalid("permission", "A link cannot make an owner").into());
        }
        if terms.max_uses.is_some_and(|uses| !(1..=1_000_000).contains(&uses)) {
            return Err(Refusal::invalid("maxUses", "From 1 to 1000000").into());
        }
        if terms.expires_at.is_some_and(|end| end <= Utc::now() || end.timestamp() > 253_402_300_799) {
            return Err(Refusal::invalid("expiresAt", "A moment that is still to come, before the year 10000").into());
        }
        let password_hash = match &terms.password {
            Some(password) if password.expose_secret().is_empty() || password.expose_secret().len() > 1_024 => {
                return Err(Refusal::invalid("password", "From 1 to 1024 bytes").into());
            }
            Some(password) => Some(self.shares.hasher().hash(password).await?),
            None => None,
        };
        let token = random_token("share")?;
        let digest = token_digest(token.expose_secret());
        let request = self.with_password(origin.idempotency, terms.password.as_ref()).await?;
        let ShareTerms { permission, max_uses, expires_at, .. } = terms;
        let id = ShareId::generate();
        let new = NewShare { id, board, by, token: digest, permission, password_hash, max_uses, expires_at };
        let made = self.ports.sharing.add_share(new, request.as_ref()).await?;
        let gone = || Refusal::not_found("idempotencyKey", "The link of this key is gone");
        let share = self.ports.sharing.share(made).await?.ok_or_else(gone)?;
        if made == id {
            self.note(viewer, board, ActivityKind::BoardShared, None);
        }
        Ok((share, (made == id).then_some(token)))
    }

    /// Ends a share link, for everybody and at once.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn revoke_share(&self, viewer: &Viewer, share: ShareId, options: WriteOptions) -> Outcome<BoardId> {
        let origin = origin(viewer, options)?;
        let no_share = || Refusal::not_found("id", format!("There is no share link {share}"));
        let board = self.ports.sharing.share(share).await?.ok_or_else(no_share)?.board_id;
        // Who is not the owner does not learn that there is such a link.
        self.board_of_owner(viewer, board).await.map_err(|failure| match failure {
            Failure::Refused(_) => Failure::Refused(no_share()),
            failed => failed,
        })?;
        self.ports.sharing.revoke_share(board, share, origin.idempotency.as_ref()).await?;
        self.ports.reads.forget_shares(board);
        self.ports.feed.committed(board);
        self.note(viewer, board, ActivityKind::ShareRevoked, None);
        Ok(board)
    }

    /// Share links of a board, newest first; for its owner.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn shares_of(&self, board: &Granted<Arc<BoardRecord>>) -> Result<Vec<Arc<Share>>> {
        if board.permission() < Permission::Owner {
            return Ok(Vec::new());
        }
        self.ports.sharing.shares(board.board_id(), MOST).await
    }

    /// Collaborators of a board, for its owner and for themselves; others see none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn collaborators_of(
        &self,
        viewer: &Viewer,
        board: &Granted<Arc<BoardRecord>>,
    ) -> Result<Vec<Collaborator>> {
        let collaborators = &board.subject().collaborators;
        let is_one = viewer.user().is_some_and(|user| collaborators.iter().any(|(id, _)| *id == user.id));
        if board.permission() < Permission::Owner && !is_one {
            return Ok(Vec::new());
        }
        self.ports.sharing.collaborators(board.board_id(), MOST).await
    }

    /// Invitations of an account that it has not answered.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn invitations(&self, user: UserId) -> Result<Vec<Invitation>> {
        self.ports.sharing.invitations(user, MOST).await
    }

    /// Asks an account to work on a board. An unknown address is refused; addresses are not told otherwise.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn invite(
        &self,
        viewer: &Viewer,
        board: BoardId,
        email: &str,
        role: Permission,
        options: WriteOptions,
    ) -> Outcome<Collaborator> {
        let origin = origin(viewer, options)?;
        let record = self.board_of_owner(viewer, board).await?;
        let by = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to share a board"))?.id;
        if role > Permission::Edit {
            return Err(Refusal::invalid("role", "A collaborator cannot be an owner").into());
        }
        let unknown = || Refusal::not_found("email", "There is no account with this address");
        let user = self.ports.accounts.credentials(&email.trim().to_lowercase()).await?.ok_or_else(unknown)?.user;
        if user.id == record.board.owner_id {
            return Err(Refusal::invalid("email", "The board belongs to this account").into());
        }
        if self.ports.sharing.collaborators(board, MOST).await?.len() >= MAX_COLLABORATORS {
            let message = format!("A board has at most {MAX_COLLABORATORS} collaborators");
            return Err(Refusal::limit("boardId", MAX_COLLABORATORS as i64, message).into());
        }
        if !self.ports.sharing.invite(board, user.id, role, by, origin.idempotency.as_ref()).await? {
            let message = "This account was invited already; change its role instead";
            return Err(Refusal::conflict("email", None, vec!["email"], message).into());
        }
        self.has_changed(board);
        self.note(viewer, board, ActivityKind::CollaboratorInvited, Some(AnyId::User(user.id)));
        self.collaborator(board, user.id).await
    }

    /// Accepts one's own invitation.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn accept_invitation(
        &self,
        viewer: &Viewer,
        board: BoardId,
        options: WriteOptions,
    ) -> Outcome<Arc<BoardRecord>> {
        let user = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to accept"))?.id;
        let origin = origin(viewer, options)?;
        if !self.ports.sharing.accept(board, user, origin.idempotency.as_ref()).await? {
            return Err(no_board(board).into());
        }
        self.has_changed(board);
        self.note(viewer, board, ActivityKind::CollaboratorJoined, Some(AnyId::User(user)));
        let record = self.ports.reads.boards(&[board]).await?.into_iter().flatten().next();
        record.ok_or_else(|| no_board(board).into())
    }

    /// Gives a collaborator another role.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn change_role(
        &self,
        viewer: &Viewer,
        board: BoardId,
        user: UserId,
        role: Permission,
        options: WriteOptions,
    ) -> Outcome<Collaborator> {
        let origin = origin(viewer, options)?;
        self.board_of_owner(viewer, board).await?;
        if role > Permission::Edit {
            return Err(Refusal::invalid("role", "A collaborator cannot be an owner").into());
        }
        if !self.ports.sharing.change_role(board, user, role, origin.idempotency.as_ref()).await? {
            return Err(Refusal::not_found("userId", "This account is no collaborator").into());
        }
        self.has_changed(board);
        self.note(viewer, board, ActivityKind::CollaboratorChanged, Some(AnyId::User(user)));
        self.collaborator(board, user).await
    }

    /// Takes a collaborator's rights away; collaborators do it to leave or to decline.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn remove_collaborator(
        &self,
        viewer: &Viewer,
        board: BoardId,
        user: UserId,
        options: WriteOptions,
    ) -> Outcome<()> {
        let origin = origin(viewer, options)?;
        if !viewer.is(user) {
            self.board_of_owner(viewer, board).await?;
        }
        if !self.ports.sharing.remove_collaborator(board, user, origin.idempotency.as_ref()).await? {
            return Err(Refusal::not_found("userId", "This account is no collaborator").into());
        }
        self.has_changed(board);
        self.note(viewer, board, ActivityKind::CollaboratorRemoved, Some(AnyId::User(user)));
        Ok(())
    }

    async fn collaborator(&self, board: BoardId, user: UserId) -> Outcome<Collaborator> {
        let all = self.ports.sharing.collaborators(board, MOST).await?;
        let gone = || Refusal::not_found("userId", "This account is no collaborator");
        all.into_iter().find(|collaborator| collaborator.user.id == user).ok_or_else(|| gone().into())
    }
}
