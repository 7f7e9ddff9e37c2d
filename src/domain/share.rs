//! Share links: a token that opens one board to whoever holds it.
//!
//! Here is what a link is and when it is alive; the checks of tokens and passwords are in `service/share.rs`.

use chrono::{DateTime, Utc};

use super::{BoardId, Permission, ShareId, Stamp};

/// SHA-256 of a token; the token itself is never stored.
pub type TokenDigest = [u8; 32];

/// A share link.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its id.
    pub id: ShareId,
    /// The board that it opens.
    pub board_id: BoardId,
    /// What its holder may do; never `Owner`.
    pub permission: Permission,
    /// argon2id hash of the password, when one is asked for.
    pub password_hash: Option<String>,
    /// How many principals may redeem it.
    pub max_uses: Option<i32>,
    /// How many have.
    pub use_count: i32,
    /// End of its life.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Whether the account of the board's owner is active: the links of a deactivated one are dead until it is active again.
    pub has_active_owner: bool,
    /// By which a cache knows whether this is still true.
    pub stamp: Stamp,
}

impl Share {
    /// Whether the link opens anything at all at this moment; used-up links still serve those who redeemed them.
    #[must_use]
    pub fn is_alive(&self, now: DateTime<Utc>) -> bool {
        self.has_active_owner && self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// How an attempt to redeem a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// The principal holds the link, now or from before.
    Granted,
    /// Every use is taken by others.
    UsedUp,
}
