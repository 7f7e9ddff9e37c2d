//! Who else may see a board, as its owner deals with it: share links and collaborators.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{BoardId, Permission, ShareId, TokenDigest, User, UserId};

/// A share link to be made.
#[derive(Clone)]
pub struct NewShare {
    /// Its id.
    pub id: ShareId,
    /// The board that it opens.
    pub board: BoardId,
    /// Who makes it.
    pub by: UserId,
    /// SHA-256 of its token; the token itself is never stored.
    pub token: TokenDigest,
    /// What its holder may do; never `Owner`.
    pub permission: Permission,
    /// argon2id hash of its password, if it has one.
    pub password_hash: Option<String>,
    /// How many may redeem it; none for any number.
    pub max_uses: Option<i32>,
    /// End of its life.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Somebody who was asked to work on a board.
#[derive(Clone, Debug)]
pub struct Collaborator {
    /// Who.
    pub user: Arc<User>,
    /// What they may do, once they have accepted.
    pub role: Permission,
    /// When they accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When they were asked.
    pub invited_at: DateTime<Utc>,
}

/// An invitation as the owner of the board sees it. Whether there is an account with the address is not told.
#[derive(Clone, Debug)]
pub struct SentInvitation {
    /// Lower-case address of who is invited.
    pub email: String,
    /// What they may do, once they have accepted.
    pub role: Permission,
    /// When they were asked.
    pub invited_at: DateTime<Utc>,
}

/// An invitation as the invited sees it.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The board.
    pub board_id: BoardId,
    /// Its name.
    pub board_name: String,
    /// What the invited may do, once they have accepted.
    pub role: Permission,
    /// When they were asked.
    pub invited_at: DateTime<Utc>,
}
