//! Accounts as their holders deal with them: making one, signing in, and what belongs to a session. What others see of an
//! account is `user.rs`.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
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

/// The refresh token that takes the place of one that is presented. It is derived from the presented token and `salt`, so
/// that the same answer can be given again although nothing that can be read is stored.
#[derive(Clone, Copy, Debug)]
pub struct Successor {
    /// Random; the token is derived with it.
    pub salt: [u8; 32],
    /// SHA-256 of the token.
    pub digest: TokenDigest,
    /// End of its life.
    pub expires_at: DateTime<Utc>,
}

/// How long after its use a refresh token may come again and gets the same successor: for browser tabs that refresh at the
/// same moment, and for answers that were lost.
pub const REFRESH_REPEAT_WINDOW: TimeDelta = TimeDelta::seconds(30);

/// How often a session goes on to another refresh token within [`REFRESH_PACE_WINDOW`].
pub const MOST_REFRESHES: i64 = 60;

/// For so long used refresh tokens are kept, by which [`MOST_REFRESHES`] is counted. Longer than
/// [`REFRESH_REPEAT_WINDOW`].
pub const REFRESH_PACE_WINDOW: TimeDelta = TimeDelta::seconds(60);

/// A refresh token as somebody presents it.
#[derive(Clone, Copy, Debug)]
pub struct PresentedToken {
    /// SHA-256 of it.
    pub digest: TokenDigest,
    /// The session that it names. Only who had a token of a session can name it. Tokens of older sessions name none.
    pub family: Option<Uuid>,
}

/// From where an account was signed in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInPlace {
    /// SHA-256 of the address with the account's e-mail address, or of the token of the device.
    pub digest: TokenDigest,
    /// Whether it is a device, else it is an address.
    pub is_device: bool,
}

/// What became of a refresh token that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It is good, or was used within [`REFRESH_REPEAT_WINDOW`]. Its successor is the one of this salt.
    Good {
        /// Whose it is.
        user: UserId,
        /// Of which sign-in.
        family: Uuid,
        /// What its successor is derived with: the one that was offered, or that of the first use.
        salt: [u8; 32],
    },
    /// It was used longer ago: somebody has a copy. Its family is closed.
    Reused {
        /// Of which sign-in.
        family: Uuid,
    },
    /// It is good, but its session went on [`MOST_REFRESHES`] times just now. Nothing was done.
    TooOften {
        /// After so many seconds it may come again.
        seconds: i64,
    },
    /// There is no such token, it has expired, its session has ended, or its account is deactivated.
    Unknown,
}

/// The parts of an account that its holder gave.
pub trait AccountEdit: Send + Sync {
    /// Names of what is given, in the spelling of the API.
    fn fields(&self) -> Vec<&'static str>;
    /// Writes what is given into an account.
    fn apply(&self, account: &mut User);
}
