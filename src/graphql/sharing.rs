//! Who else may see a board: share links, collaborators, invitations.

use std::sync::Arc;

use async_graphql::{ID, Object};
use chrono::{DateTime, Utc};

use super::{board::Permission, rows::row, scalar::id, scope::Session, user::User};
use crate::domain;

/// A share link. Its token was told when it was made, and is not stored.
pub(super) struct BoardShare(pub(super) Arc<domain::Share>);

row!(BoardShare);

/// A share link. Its token was told when it was made, and is not stored.
#[Object]
impl BoardShare {
    /// Global id, `share_…`.
    async fn id(&self) -> ID {
        id(self.0.id)
    }

    /// What its holder may do.
    async fn permission(&self) -> Permission {
        self.0.permission.into()
    }

    /// Whether a password has to be given along with the token.
    async fn has_password(&self) -> bool {
        self.0.password_hash.is_some()
    }

    /// How many may redeem it; null for any number.
    async fn max_uses(&self) -> Option<i32> {
        self.0.max_uses
    }

    /// How many have redeemed it.
    async fn use_count(&self) -> i32 {
        self.0.use_count
    }

    /// When it ends by itself.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// When it was revoked.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }
}

/// Somebody who works on a board.
pub(super) struct Collaborator {
    pub(super) session: Arc<Session>,
    pub(super) collaborator: domain::Collaborator,
}

row!(Collaborator);

/// Somebody who works on a board.
#[Object]
impl Collaborator {
    /// Who.
    async fn user(&self) -> User {
        User::new(&self.session, &self.collaborator.user)
    }

    /// What they may do, once they have accepted.
    async fn role(&self) -> Permission {
        self.collaborator.role.into()
    }

    /// When they accepted. Null for invitations of before version 0.2 that were not answered; others are in `Board.invitations`.
    async fn accepted_at(&self) -> Option<DateTime<Utc>> {
        self.collaborator.accepted_at
    }

    /// When they were asked.
    async fn invited_at(&self) -> DateTime<Utc> {
        self.collaborator.invited_at
    }
}

/// An invitation that was sent to an e-mail address, not yet answered.
pub(super) struct SentInvitation(pub(super) domain::SentInvitation);

row!(SentInvitation);

/// An invitation that was sent to an e-mail address, not yet answered. Whether there is an account with the address is not told.
#[Object]
impl SentInvitation {
    /// The address, in lower case.
    async fn email(&self) -> &str {
        &self.0.email
    }

    /// What they may do, once they have accepted.
    async fn role(&self) -> Permission {
        self.0.role.into()
    }

    /// When they were asked.
    async fn invited_at(&self) -> DateTime<Utc> {
        self.0.invited_at
    }
}

/// An invitation to work on a board, not yet answered.
pub(super) struct Invitation(pub(super) domain::Invitation);

row!(Invitation);

/// An invitation to work on a board, not yet answered.
#[Object]
impl Invitation {
    /// The board.
    async fn board_id(&self) -> ID {
        id(self.0.board_id)
    }

    /// Its name.
    async fn board_name(&self) -> &str {
        &self.0.board_name
    }

    /// What the viewer may do, once they have accepted.
    async fn role(&self) -> Permission {
        self.0.role.into()
    }

    /// When the viewer was asked.
    async fn invited_at(&self) -> DateTime<Utc> {
        self.0.invited_at
    }
}
