//! Using tokens that were sent by mail: the port. How they come to be is `mail.rs`.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Result, TokenDigest, User, UserId};

/// Verified addresses of accounts.
#[async_trait]
pub trait Verifications: Send + Sync {
    /// Uses up a token of this account and marks its address as verified; `None` when the token is not good for it: unknown,
    /// expired, used, of another account, or sent to an address that the account has no more. Of many that come with it at
    /// the same moment, one gets through.
    async fn verify_email(&self, user: UserId, token: &TokenDigest) -> Result<Option<Arc<User>>>;
}
