//! Accounts as their holders deal with them: making one, signing in, and what belongs to a session. What others see of an
//! account is `user.rs`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{TokenDigest, User, UserId};

/// An account with what it signs in with.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub user: Arc<User>,
    /// argon2id hash of the password.
    pub password_hash: String,
}

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// Lower-case address.
    pub email: String,
    /// Display name.
    pub name: Option<String>,
    /// argon2id hash of the password.
    pub password_hash: String,
}

/// A refresh token to be handed out. All tokens that come from one sign-in are of one family.
#[derive(Clone, Copy, Debug)]
pub struct NewRefreshToken {
    /// Whose.
    pub user: UserId,
    /// Of which sign-in.
    pub family: Uuid,
    /// SHA-256 of the token; the token itself is never stored.
    pub digest: TokenDigest,
    /// End of its life.
    pub expires_at: DateTime<Utc>,
}

/// What became of a refresh token that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It was good and is used up now.
    Taken {
        /// Whose it was.
        user: UserId,
        /// Of which sign-in.
        family: Uuid,
    },
    /// It had been used before: somebody has a copy. Its family is closed.
    Reused,
    /// There is no such token, or it has expired or was revoked.
    Unknown,
}

/// The parts of an account that its holder gave.
pub trait AccountEdit: Send + Sync {
    /// Writes what is given into an account.
    fn apply(&self, account: &mut User);
}
