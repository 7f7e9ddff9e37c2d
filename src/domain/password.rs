//! Passwords of accounts, changed by their holders: the port. Signing in with one is `account.rs`.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Result, TokenDigest, UserId};

/// A password that takes the place of another.
#[derive(Clone)]
pub struct PasswordChange {
    /// The account.
    pub user: UserId,
    /// argon2id hash of the password that was checked. With another one by now, nothing is changed.
    pub from: String,
    /// argon2id hash of the next one.
    pub to: String,
    /// The session that goes on.
    pub keep: Option<Uuid>,
}

/// What a reset has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordReset {
    /// The account.
    pub user: UserId,
    /// Its lower-case address.
    pub email: String,
    /// All its sessions.
    pub sessions: Vec<Uuid>,
    /// Its API keys, where the address was not verified before: whoever made them had shown nothing.
    pub keys: Vec<TokenDigest>,
}

/// Passwords of accounts.
#[async_trait]
pub trait Passwords: Send + Sync {
    /// Changes a password, and ends the other sessions of the account and its tokens for a reset: these sessions. Those
    /// that begin at the same moment are among them. `None` when there is nothing to change: the account is not active,
    /// or has another password by now.
    async fn change_password(&self, change: PasswordChange) -> Result<Option<Vec<Uuid>>>;
    /// Whether a token for a reset is good at this moment.
    async fn is_good_for_reset(&self, token: &TokenDigest) -> Result<bool>;
    /// Uses up a token for a reset, sets the password and marks the address as verified. All sessions of the account
    /// end, also those that begin at the same moment. So do all its tokens that were sent by mail, and its places of
    /// sign-ins. `None` when the token is not good. Of many that come with it at the same moment, one gets through.
    async fn reset_password(&self, token: &TokenDigest, password_hash: &str) -> Result<Option<PasswordReset>>;
}
