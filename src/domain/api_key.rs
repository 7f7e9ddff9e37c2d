//! API keys: with one, a program acts in the name of an account, as far as the key's scope reaches.
//!
//! Here is what a key is and when it is alive; how far a scope reaches is `access/authority.rs`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ApiKeyId, Cursor, SortKey, Stamp, TokenDigest, UserId, words::words};

/// Names the order of an account's keys inside cursors: the last made first.
pub const API_KEY_ORDER: &str = "api-key";

words!(
    /// How far a key reaches. Each scope includes those before it.
    #[derive(PartialOrd, Ord)]
    ApiKeyScope {
        /// Reading and following.
        Read = "read",
        /// Changing boards as well.
        Write = "write",
        /// Everything that its account may do but for signing in and out.
        Admin = "admin",
    }
);

/// An API key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// In whose name it acts.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the key; the key itself is never stored.
    pub digest: TokenDigest,
    /// The first characters of the key, to recognise it by.
    pub prefix: String,
    /// The highest scope it has.
    pub scope: ApiKeyScope,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// End of its life; none for no end.
    pub expires_at: Option<DateTime<Utc>>,
    /// Last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// By which a cache knows whether this is still true.
    pub stamp: Stamp,
}

impl ApiKey {
    /// Whether the key opens anything at all at this moment.
    #[must_use]
    pub fn is_alive(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Its place among the keys of its account.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { key: SortKey::Time(self.created_at), id: self.id.0 }
    }
}

/// An API key to be made.
#[derive(Clone)]
pub struct NewApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// In whose name it acts.
    pub user_id: UserId,
    /// The session in which it is asked for. One that has ended meanwhile makes no key.
    pub session: Option<Uuid>,
    /// The key with which it is asked for. One that was revoked meanwhile makes no key.
    pub parent: Option<ApiKeyId>,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the key.
    pub digest: TokenDigest,
    /// The first characters of the key, at most 16.
    pub prefix: String,
    /// The highest scope it has.
    pub scope: ApiKeyScope,
    /// End of its life; none for no end.
    pub expires_at: Option<DateTime<Utc>>,
}
