//! Opening a board by its share link: token, password, expiry and number of uses, all checked, wherever the token comes
//! from (an argument or a header).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};

use super::{Services, attempts::Attempts, lookup::LookupGate};
use crate::{
    access::{Caller, HeldShare, SecretHasher, Viewer, token_digest},
    domain::{ClientAddress, Error, Result, Share, ShareId, TokenDigest},
};

/// Longer tokens are not ours.
const MAX_TOKEN_BYTES: usize = 200;
/// Wrong passwords per link and address.
const PASSWORD_ATTEMPTS: u32 = 10;
const PASSWORD_WINDOW: Duration = Duration::from_secs(15 * 60);
/// A password that was right is not hashed again for each request of this time.
const REMEMBER_FOR: Duration = Duration::from_secs(10 * 60);
const MAX_REMEMBERED: usize = 10_000;

/// A link, and the digest of its hash with the password that was right for it.
type Verified = (ShareId, TokenDigest);

pub(super) struct ShareGate {
    hasher: SecretHasher,
    guesses: Attempts<(ShareId, ClientAddress)>,
    verified: Mutex<HashMap<Verified, Instant>>,
}

impl ShareGate {
    pub(super) fn new(hasher: SecretHasher) -> Self {
        ShareGate { hasher, guesses: Attempts::new(PASSWORD_ATTEMPTS, PASSWORD_WINDOW), verified: Mutex::default() }
    }

    /// What hashes passwords, a few at a time.
    pub(super) fn hasher(&self) -> &SecretHasher {
        &self.hasher
    }

    async fn check_password(
        &self,
        share: &Share,
        hash: &str,
        password: Option<&SecretString>,
        asking: (Caller, ClientAddress, &LookupGate),
    ) -> Result<()> {
        let (caller, address, lookups) = asking;
        let password = password.ok_or_else(|| Error::unauthenticated("This link needs its password"))?;
        let key = (share.id, token_digest(&format!("{hash} {}", password.expose_secret())));
        let now = Instant::now();
        let remembered = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if remembered.is_some_and(|since| now.duration_since(since) < REMEMBER_FOR) {
            return Ok(());
        }
        lookups.count_password(address)?;
        self.guesses.count((share.id, address)).inspect_err(|_| lookups.take_password_back(address))?;
        if !caller.scope(self.hasher.verify(password, hash)).await? {
            return Err(Error::unauthenticated("Wrong password for this link"));
        }
        lookups.take_password_back(address);
        self.guesses.forgive(&(share.id, address));
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MAX_REMEMBERED {
            verified.retain(|_, since| now.duration_since(*since) < REMEMBER_FOR);
        }
        if verified.len() < MAX_REMEMBERED {
            verified.insert(key, now);
        }
        Ok(())
    }
}

impl Services {
    /// Redeems a link for whoever asks. `None` when there is no such link, or it is revoked, expired or used up by others:
    /// these cannot be told apart from outside.
    ///
    /// # Errors
    /// `Unauthenticated` when the password is missing or wrong, `RateLimited` after ten wrong ones from one
    /// address, or many unknown tokens.
    pub async fn hold_share(
        &self,
        viewer: &Viewer,
        token: &SecretString,
        password: Option<&SecretString>,
        address: ClientAddress,
    ) -> Result<Option<HeldShare>> {
        if token.expose_secret().len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let digest = token_digest(token.expose_secret());
        self.lookups.check(&digest, address)?;
        let share = self.ports.reads.share_by_token(&digest).await?;
        self.lookups.was_looked_up(&digest, address, share.is_some());
        let Some(share) = share else {
            return Ok(None);
        };
        if !share.is_alive(Utc::now()) {
            return Ok(None);
        }
        if let Some(hash) = &share.password_hash {
            let asking = (Caller::of(viewer, address), address, &self.lookups);
            self.shares.check_password(&share, hash, password, asking).await?;
        }
        let redemption = self.ports.reads.redeem_share(share.id, &principal(viewer, address)).await?;
        Ok(HeldShare::after(Arc::clone(&share), digest, redemption))
    }
}

/// Who takes a use of a link: an account, or everybody at one address.
fn principal(viewer: &Viewer, address: ClientAddress) -> TokenDigest {
    match viewer.user() {
        Some(user) => token_digest(&user.id.to_string()),
        None => token_digest(&format!("address:{address}")),
    }
}
