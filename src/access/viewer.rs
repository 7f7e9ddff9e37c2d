//! Who is asking: an account, in person or through an API key, a share link, both, nobody, or the program itself.
//!
//! A viewer says nothing about what may be done; that is decided per board in `permission.rs`. How far its credential
//! reaches at all is `authority.rs`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Authority, token_digest};
use crate::domain::{ApiKey, FolderLock, Redemption, Share, Stamp, TokenDigest, Unlock, User, UserId};

/// Proof that a share link was redeemed by whoever asks; only [`HeldShare::after`] makes one.
#[derive(Clone, Debug)]
pub struct HeldShare {
    share: Arc<Share>,
    token: TokenDigest,
}

impl HeldShare {
    /// The link as held after a redemption that was granted.
    #[must_use]
    pub fn after(share: Arc<Share>, token: TokenDigest, redemption: Redemption) -> Option<Self> {
        (redemption == Redemption::Granted).then_some(HeldShare { share, token })
    }

    /// The link as it is now; who held it goes on holding it.
    #[must_use]
    pub fn again(&self, share: Arc<Share>) -> Self {
        HeldShare { share, token: self.token }
    }

    /// Digest of its token.
    #[must_use]
    pub fn token(&self) -> &TokenDigest {
        &self.token
    }

    /// The link.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.share
    }
}

/// The access token that an account came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The session that it belongs to: signing out ends it before its time.
    pub session: Option<Uuid>,
    /// When it ends, and with it everything that was opened with it.
    pub expires_at: DateTime<Utc>,
}

/// Who is asking. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    user: Option<Arc<User>>,
    key: Option<Arc<ApiKey>>,
    bearer: Option<Bearer>,
    share: Option<HeldShare>,
    unlocks: Arc<[Unlock]>,
    system: Option<&'static str>,
}

impl Viewer {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Viewer::default()
    }

    /// An account, if it is active: a deactivated one has no viewer.
    #[must_use]
    pub fn account(user: Arc<User>) -> Option<Self> {
        user.is_active.then(|| Viewer { user: Some(user), ..Viewer::default() })
    }

    /// An account through one of its keys, if both can be used at this moment.
    #[must_use]
    pub fn api_key(key: Arc<ApiKey>, user: Arc<User>) -> Option<Self> {
        let fits = key.user_id == user.id && key.is_alive(Utc::now());
        fits.then(|| Viewer::account(user)).flatten().map(|viewer| Viewer { key: Some(key), ..viewer })
    }

    /// The program itself, which may do anything; the reason is for whoever reads the code and the log.
    #[must_use]
    pub fn system(reason: &'static str) -> Self {
        tracing::debug!(reason, "Acting as the system");
        Viewer { system: Some(reason), ..Viewer::default() }
    }

    /// The same viewer, holding a share link as well.
    #[must_use]
    pub fn holding(&self, share: HeldShare) -> Self {
        Viewer { share: Some(share), ..self.clone() }
    }

    /// The same viewer with these folders open as well, as far as it was this viewer who opened them.
    #[must_use]
    pub fn unlocking(&self, unlocks: Vec<Unlock>) -> Self {
        let own = self.principal();
        let unlocks = self.unlocks.iter().cloned().chain(unlocks).filter(|unlock| unlock.principal == own);
        Viewer { unlocks: unlocks.collect(), ..self.clone() }
    }

    /// What it has opened.
    #[must_use]
    pub fn unlocks(&self) -> &[Unlock] {
        &self.unlocks
    }

    /// Whether it may look into a folder with a password, on whatever board.
    #[must_use]
    pub fn opens(&self, lock: &FolderLock) -> bool {
        let now = Utc::now();
        let mut unlocks = self.unlocks.iter();
        lock.set_by.is_some_and(|user| self.is(user))
            || unlocks.any(|unlock| unlock.folder_id == lock.folder_id && unlock.expires_at > now)
    }

    /// The same viewer, known by an access token.
    #[must_use]
    pub fn by(&self, bearer: Bearer) -> Self {
        Viewer { bearer: Some(bearer), ..self.clone() }
    }

    /// The access token, if that is how the viewer is known.
    #[must_use]
    pub fn bearer(&self) -> Option<Bearer> {
        self.bearer
    }

    /// The account, if there is one.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// The API key that was presented, if it was one.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<ApiKey>> {
        self.key.as_ref()
    }

    /// How far the credential reaches.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.key.as_ref().map_or(Authority::Full, |key| key.scope.into())
    }

    /// The share link, if there is one.
    #[must_use]
    pub fn share(&self) -> Option<&HeldShare> {
        self.share.as_ref()
    }

    /// Whether this is that account.
    #[must_use]
    pub fn is(&self, user: UserId) -> bool {
        self.user.as_ref().is_some_and(|own| own.id == user)
    }

    /// What sets the answers to this viewer apart from those to any other, or to itself before its account changed or with a
    /// credential that reaches less far. `None` where an answer cannot be used again: a share link ends by time and by use,
    /// an open folder by time, and the program asks as itself.
    #[must_use]
    pub fn access_class(&self) -> Option<(Option<(UserId, Stamp)>, Authority)> {
        let is_plain = self.share.is_none() && self.unlocks.is_empty() && self.system.is_none();
        is_plain.then(|| (self.user.as_ref().map(|user| (user.id, user.stamp)), self.authority()))
    }

    /// Digest of who this is: an account, one of its keys, or whoever holds a share link.
    #[must_use]
    pub fn principal(&self) -> TokenDigest {
        match (&self.key, &self.user, &self.share) {
            (Some(key), ..) => token_digest(&key.id.to_string()),
            (None, Some(user), _) => token_digest(&user.id.to_string()),
            (None, None, Some(held)) => token_digest(&held.share().id.to_string()),
            (None, None, None) => token_digest(self.system.unwrap_or("anonymous")),
        }
    }

    /// Digest of what it came with: another one for another token, key or share link of the same account.
    #[must_use]
    pub fn credential(&self) -> TokenDigest {
        let bearer = self.bearer.map(|bearer| (bearer.session, bearer.expires_at));
        let share = self.share.as_ref().map(|held| held.share().id);
        token_digest(&format!("{:?} {bearer:?} {share:?}", self.principal()))
    }

    /// Whether this is the program itself.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.system.is_some()
    }
}
