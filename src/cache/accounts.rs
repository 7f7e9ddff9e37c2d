//! Accounts, API keys and share links in memory. What a read finds is kept only if it began after this process has
//! changed that row the last time.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Cached, Inner, Source};
use crate::{
    config::CacheMode,
    domain::{
        ApiKey, BoardId, Redemption, Result, Share, ShareId, TokenDigest, User, UserId,
        ports::{Keys, Shares, Users},
    },
};

impl<S> Inner<S> {
    /// Lets go of the share links of a board.
    pub(super) fn forget_shares(&self, board: BoardId) {
        self.forgotten.shares.forget(board, || {
            let of_board = self.shares.iter().filter(|(_, share)| share.board_id == board);
            of_board.for_each(|(token, _)| self.shares.invalidate(token.as_ref()));
        });
        self.woken.all();
    }

    /// Lets go of an account.
    pub(super) fn forget_user(&self, user: UserId) {
        self.forgotten.users.forget(user, || self.users.invalidate(&user));
        self.woken.all();
    }

    /// Lets go of an API key.
    pub(super) fn forget_key(&self, digest: &TokenDigest) {
        self.forgotten.keys.forget(*digest, || self.keys.invalidate(digest));
        self.woken.all();
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Users for Cached<S> {
    async fn users(&self, ids: &[UserId]) -> Result<Vec<Option<Arc<User>>>> {
        let kept: Vec<Option<Arc<User>>> = ids.iter().map(|id| self.0.users.get(id)).collect();
        if self.is_current() && kept.iter().all(Option::is_some) {
            return Ok(kept);
        }
        let forgotten = &self.0.forgotten.users;
        let began = forgotten.mark();
        let users = self.0.source.users(ids).await?;
        if self.0.mode == CacheMode::Cached {
            for user in users.iter().flatten() {
                forgotten.unless_forgotten(&user.id, began, || self.0.users.insert(user.id, Arc::clone(user)));
            }
        }
        Ok(users)
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Keys for Cached<S> {
    async fn key_by_digest(&self, digest: &TokenDigest) -> Result<Option<Arc<ApiKey>>> {
        if let Some(key) = self.0.keys.get(digest).filter(|_| self.is_current()) {
            return Ok(Some(key));
        }
        let forgotten = &self.0.forgotten.keys;
        let began = forgotten.mark();
        let key = self.0.source.key_by_digest(digest).await?;
        if let (CacheMode::Cached, Some(key)) = (self.0.mode, &key) {
            forgotten.unless_forgotten(digest, began, || self.0.keys.insert(*digest, Arc::clone(key)));
        }
        Ok(key)
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Shares for Cached<S> {
    async fn share_by_token(&self, token: &TokenDigest) -> Result<Option<Arc<Share>>> {
        if let Some(share) = self.0.shares.get(token).filter(|_| self.is_current()) {
            return Ok(Some(share));
        }
        let forgotten = &self.0.forgotten.shares;
        let began = forgotten.mark();
        let share = self.0.source.share_by_token(token).await?;
        if let (CacheMode::Cached, Some(share)) = (self.0.mode, &share) {
            forgotten.unless_forgotten(&share.board_id, began, || self.0.shares.insert(*token, Arc::clone(share)));
        }
        Ok(share)
    }

    async fn redeem_share(&self, share: ShareId, principal: &TokenDigest) -> Result<Redemption> {
        let key = (share, *principal);
        if self.0.redeemed.contains_key(&key) {
            return Ok(Redemption::Granted);
        }
        let redemption = self.0.source.redeem_share(share, principal).await?;
        if self.0.mode == CacheMode::Cached && redemption == Redemption::Granted {
            self.0.redeemed.insert(key, ());
        }
        Ok(redemption)
    }
}
