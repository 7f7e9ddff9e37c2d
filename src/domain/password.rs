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
    /// All its sessions.
    pub sessions: Vec<Uuid>,
    /// Its API keys, where the address was not verified before: whoever made them had shown nothing.
    pub keys: Vec<TokenDigest>,
}

/// Passwords of accounts.
#[async_trait]
pub trait Passwords: Send + Sync {
    /// Changes a password, and ends the other sessions of the account and its tokens for a reset: these sessions. `None` when
    /// there is nothing to change: the account is not active, or has another password by now.
    async fn change_password(&self, change: PasswordChange) -> Result<Option<Vec<Uuid>>>;
    /// Whether a token for a reset is good at this moment.
    async fn is_good_for_reset(&self, token: &TokenDigest) -> Result<bool>;
    /// Uses up a token for a reset, sets the password, marks the address as verified, and ends all sessions. `None` when the
    /// token is not good. Of many that come with it at the same moment, one gets through.
    async fn reset_password(&self, token: &TokenDigest, password_hash: &str) -> Result<Option<PasswordReset>>;
}
