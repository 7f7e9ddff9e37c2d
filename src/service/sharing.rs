//! Sharing a board: links and collaborators. All of it is for the owner, but for accepting and leaving, which are one's own.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Services,
    attempts::Attempts,
    change::{WriteOptions, origin},
    sign_in::settled_email,
};
use crate::{
    access::{Granted, Viewer, secret_hash::random_token, token_digest},
    domain::{
        ActivityKind, AnyId, BoardId, BoardRecord, ClientAddress, Collaborator, Error, Failure, Invitation, NewShare,
        Outcome, Permission, Refusal, Result, SentInvitation, Share, ShareId, User, UserId,
    },
};

/// Links and collaborators of one board that are shown.
const MOST: i64 = 1_000;
/// Share links of one board that can be used.
const MAX_LINKS: i64 = 100;
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

/// How many invitations are sent within an hour: by an account, and from an address.
pub(super) struct InvitationGate {
    per_account: Attempts<UserId>,
    per_address: Attempts<ClientAddress>,
}

impl InvitationGate {
    /// So many by one account; from one address five times as many.
    pub(super) fn new(per_account: u32) -> Self {
        let hour = Duration::from_secs(3600);
        InvitationGate {
            per_account: Attempts::new(per_account, hour),
            per_address: Attempts::new(per_account.saturating_mul(5), hour),
        }
    }

    fn count(&self, account: UserId, address: ClientAddress) -> Result<()> {
        self.per_account.count(account)?;
        self.per_address.count(address).inspect_err(|_| self.per_account.take_back(&account))
    }
}

fn no_board(id: BoardId) -> Refusal {
    Refusal::not_found("boardId", format!("There is no board {id}"))
}

/// Whether share links of a board are shown: to its owner.
#[must_use]
pub fn sees_shares(board: &Granted<Arc<BoardRecord>>) -> bool {
    board.permission() >= Permission::Owner
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
        let full = || {
            Refusal::limit(
                "boardId",
                MAX_LINKS,
                format!("A board has at most {MAX_LINKS} share links that can be used"),
            )
        };
        let made = self.ports.sharing.add_share(new, MAX_LINKS, request.as_ref()).await?.ok_or_else(full)?;
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

    /// Invitations of an account that it has not answered. They were sent to an address, so an account that has not shown that
    /// the address is its own sees none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn invitations(&self, user: &User) -> Result<Vec<Invitation>> {
        if !user.email_verified {
            return Ok(Vec::new());
        }
        self.ports.sharing.invitations(user.id, MOST).await
    }

    /// Invitations to a board that nobody has answered; for its owner, others see none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn invitations_to(&self, board: &Granted<Arc<BoardRecord>>) -> Result<Vec<SentInvitation>> {
        if board.permission() < Permission::Owner {
            return Ok(Vec::new());
        }
        self.ports.sharing.sent_invitations(board.board_id(), MOST).await
    }

    /// Asks whoever has an e-mail address to work on a board. It is kept under the address and answered alike whether there is
    /// such an account or not, so that nobody finds out which addresses have accounts.
    ///
    /// # Errors
    /// A refusal, `RateLimited`, or those of the database.
    pub async fn invite(
        &self,
        viewer: &Viewer,
        board: BoardId,
        to: (&str, Permission),
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<SentInvitation> {
        let origin = origin(viewer, options)?;
        let (email, role) = to;
        self.board_of_owner(viewer, board).await?;
        let by = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to share a board"))?;
        if role > Permission::Edit {
            return Err(Refusal::invalid("role", "A collaborator cannot be an owner").into());
        }
        let email = settled_email(email)?;
        if email == by.email {
            return Err(Refusal::invalid("email", "The board belongs to this account").into());
        }
        self.invitations.count(by.id, address)?;
        let collaborators = self.ports.sharing.collaborators(board, MOST).await?.len();
        let invitations = self.ports.sharing.sent_invitations(board, MOST).await?.len();
        if collaborators + invitations >= MAX_COLLABORATORS {
            let message = format!("A board has at most {MAX_COLLABORATORS} collaborators and invitations");
            return Err(Refusal::limit("boardId", MAX_COLLABORATORS as i64, message).into());
        }
        // What the database keeps of a moment are microseconds.
        let invitation = SentInvitation { email: email.clone(), role, invited_at: Utc::now().trunc_subsecs(6) };
        let sent = self.ports.sharing.invite(board, invitation.clone(), by.id, origin.idempotency.as_ref()).await?;
        if !sent {
            let message = "This address was invited already, or belongs to a collaborator";
            return Err(Refusal::conflict("email", None, vec!["email"], message).into());
        }
        self.note(viewer, board, ActivityKind::CollaboratorInvited, None);
        // As it is stored: an earlier request under the same key may have sent it.
        let stored = self.ports.sharing.sent_invitations(board, MOST).await?;
        Ok(stored.into_iter().find(|stored| stored.email == email).unwrap_or(invitation))
    }

    /// Takes an invitation back that nobody has answered.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn cancel_invitation(
        &self,
        viewer: &Viewer,
        board: BoardId,
        email: &str,
        options: WriteOptions,
    ) -> Outcome<()> {
        let origin = origin(viewer, options)?;
        self.board_of_owner(viewer, board).await?;
        let email = settled_email(email)?;
        if !self.ports.sharing.cancel_invitation(board, &email, origin.idempotency.as_ref()).await? {
            return Err(Refusal::not_found("email", "There is no invitation to this address").into());
        }
        Ok(())
    }

    /// Accepts one's own invitation, as an account whose address is verified.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn accept_invitation(
        &self,
        viewer: &Viewer,
        board: BoardId,
        options: WriteOptions,
    ) -> Outcome<Arc<BoardRecord>> {
        let user = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to accept"))?;
        let origin = origin(viewer, options)?;
        // Before anything is looked at: whether there is an invitation is for the holder of the address.
        if !user.email_verified {
            return Err(Refusal::forbidden("boardId", "Verify the e-mail address of your account first").into());
        }
        let user = user.id;
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
        let request = origin.idempotency.as_ref();
        // One's own invitation first, which is no collaborator yet.
        // An invitation is for who has shown that the address is theirs, to decline it as well.
        let is_invited = viewer.is(user) && viewer.user().is_some_and(|user| user.email_verified);
        let is_declined = is_invited && self.ports.sharing.decline(board, user, request).await?;
        if is_declined {
            return Ok(());
        }
        if !self.ports.sharing.remove_collaborator(board, user, request).await? {
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
