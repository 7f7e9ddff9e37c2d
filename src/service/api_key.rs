//! API keys: making and revoking them, from a key to a viewer, and when each was last used.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Timelike, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Services,
    change::{WriteOptions, origin, validate},
};
use crate::{
    access::{Authority, Viewer, secret_hash::random_token, token_digest},
    domain::{
        ApiKey, ApiKeyId, ApiKeyScope, ClientAddress, Code, Error, NewApiKey, Outcome, Page, PageRequest, Refusal,
        Result, TokenDigest, User, UserId, ports::ApiKeys,
    },
};

/// What every key begins with, so that people and scanners of secrets recognise one.
const PREFIX: &str = "rbk";
/// So many characters of a key are shown afterwards: the prefix and eight more, which leave 208 random bits.
const SHOWN_CHARS: usize = 12;
/// Longer texts are not keys; they are not looked up.
const MAX_KEY_BYTES: usize = 100;
/// Living keys of one account.
const MAX_KEYS: i64 = 100;
/// Uses are collected for so long before they are written.
const WRITE_USES_AFTER: Duration = Duration::from_secs(1);

/// What a new key is to be.
pub struct ApiKeyTerms {
    /// What its owner calls it.
    pub name: String,
    /// What it is for; the highest of these counts.
    pub scopes: Vec<ApiKeyScope>,
    /// End of its life.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Whether what came as a bearer token is meant to be an API key.
pub(super) fn is_key(token: &SecretString) -> bool {
    token.expose_secret().strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('_'))
}

impl Services {
    /// The viewer behind an API key.
    ///
    /// # Errors
    /// `Unauthenticated` when there is no such key, it is revoked or has expired, or its account is deactivated: from
    /// outside these look the same. `RateLimited` when the address has tried many unknown ones.
    pub(super) async fn viewer_of_key(&self, key: &SecretString, address: ClientAddress) -> Result<Viewer> {
        let key = key.expose_secret();
        if key.len() > MAX_KEY_BYTES {
            return Err(not_good());
        }
        let digest = token_digest(key);
        self.lookups.check(&digest, address)?;
        let viewer = self.viewer_of_digest(&digest).await;
        match &viewer {
            Err(error) if error.code() != Code::Unauthenticated => {}
            known => self.lookups.was_looked_up(&digest, address, known.is_ok()),
        }
        let viewer = viewer?;
        if let Some(key) = viewer.key().filter(|_| !self.is_read_only()) {
            self.key_uses.note(key);
        }
        Ok(viewer)
    }

    /// The same without a use, for what goes on.
    pub(super) async fn viewer_of_digest(&self, digest: &TokenDigest) -> Result<Viewer> {
        let key = self.ports.reads.key_by_digest(digest).await?.ok_or_else(not_good)?;
        let user = self.ports.reads.users(&[key.user_id]).await?.into_iter().next().flatten().ok_or_else(not_good)?;
        Viewer::api_key(key, user).ok_or_else(not_good)
    }

    /// Makes a key for the viewer's account. The key itself is told this once: `None` where an earlier request under the
    /// same idempotency key made it.
    ///
    /// # Errors
    /// A refusal, `Unauthenticated` without an account or when what the viewer came with has ended meanwhile, or those of
    /// the database.
    pub async fn create_api_key(
        &self,
        viewer: &Viewer,
        terms: ApiKeyTerms,
        options: WriteOptions,
    ) -> Outcome<(Arc<ApiKey>, Option<SecretString>)> {
        let user = account(viewer)?;
        let origin = origin(viewer, options)?;
        let ApiKeyTerms { name, scopes, expires_at } = terms;
        validate::name("name", &name)?;
        let none = || Refusal::invalid("scopes", "At least one scope");
        let scope = scopes.into_iter().max().ok_or_else(none)?;
        if expires_at.is_some_and(|end| end <= Utc::now() || end.timestamp() > 253_402_300_799) {
            return Err(Refusal::invalid("expiresAt", "A moment that is still to come, before the year 10000").into());
        }
        let own_end = viewer.key().and_then(|key| key.expires_at);
        if own_end.is_some_and(|own| expires_at.is_none_or(|end| end > own)) {
            return Err(Refusal::forbidden("expiresAt", "A key makes no key that outlives it").into());
        }
        let secret = random_token(PREFIX)?;
        let new = NewApiKey {
            id: ApiKeyId::generate(),
            user_id: user.id,
            session: viewer.bearer().and_then(|bearer| bearer.session),
            parent: viewer.key().map(|key| key.id),
            name,
            digest: token_digest(secret.expose_secret()),
            prefix: secret.expose_secret().chars().take(SHOWN_CHARS).collect(),
            scope,
            expires_at,
        };
        let id = new.id;
        let full = || Refusal::limit("name", MAX_KEYS, format!("An account has at most {MAX_KEYS} living keys"));
        let made = self.ports.keys.add_key(new, MAX_KEYS, origin.idempotency.as_ref()).await?.ok_or_else(full)?;
        let secret = (made.id == id).then_some(secret);
        Ok((made, secret))
    }

    /// Ends a key of the viewer's account, at once and for good. One that was revoked before stays as it is.
    ///
    /// # Errors
    /// A refusal, `Unauthenticated` without an account, or those of the database.
    pub async fn revoke_api_key(&self, viewer: &Viewer, id: ApiKeyId, options: WriteOptions) -> Outcome<Arc<ApiKey>> {
        let user = account(viewer)?.id;
        let origin = origin(viewer, options)?;
        let no_key = || Refusal::not_found("id", format!("There is no API key {id}"));
        let revoked = self.ports.keys.revoke_key(user, id, origin.idempotency.as_ref()).await?.ok_or_else(no_key)?;
        self.ports.reads.forget_key(&revoked.digest);
        Ok(revoked)
    }

    /// Whether the viewer may look at the keys of an account: itself, in person or with a key that may manage keys.
    #[must_use]
    pub fn may_list_keys(viewer: &Viewer, user: UserId) -> bool {
        viewer.is(user) && viewer.authority() >= Authority::Admin
    }

    /// One page of the keys of an account, the last made first, dead ones included.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn api_keys(&self, user: UserId, page: &PageRequest) -> Result<Page<Arc<ApiKey>>> {
        self.ports.keys.key_page(user, page).await
    }

    /// How many keys an account has, dead ones included.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn api_key_count(&self, user: UserId) -> Result<i64> {
        self.ports.keys.key_count(user).await
    }
}

fn not_good() -> Error {
    Error::unauthenticated("This API key does not exist, was revoked or has expired, or its account cannot be used")
}

fn account(viewer: &Viewer) -> Result<&Arc<User>> {
    viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to have API keys"))
}

/// Notes when keys were last used, to the minute, and writes that for many at once, behind the back of requests.
pub(super) struct KeyUses {
    keys: Arc<dyn ApiKeys>,
    noted: Arc<Mutex<HashMap<ApiKeyId, DateTime<Utc>>>>,
}

impl KeyUses {
    pub(super) fn new(keys: Arc<dyn ApiKeys>) -> Self {
        KeyUses { keys, noted: Arc::default() }
    }

    /// Notes that a key is used now. The first of a batch has it written a little later.
    fn note(&self, key: &ApiKey) {
        let now = Utc::now().trunc_subsecs(0);
        let minute = now - TimeDelta::seconds(i64::from(now.second()));
        if key.last_used_at.is_some_and(|known| known >= minute) {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = noted.is_empty();
        noted.insert(key.id, minute);
        drop(noted);
        if is_first {
            let (keys, noted) = (Arc::clone(&self.keys), Arc::clone(&self.noted));
            tokio::spawn(async move {
                tokio::time::sleep(WRITE_USES_AFTER).await;
                let uses = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
                let uses: Vec<_> = uses.into_iter().collect();
                if let Err(error) = keys.keys_used(&uses).await {
                    // The next use of each key notes it again.
                    tracing::warn!(cause = ?error.cause(), "Could not note the use of {} API keys: {error}", uses.len());
                }
            });
        }
    }
}
