//! Credentials that nobody has given out: how many an address may try.
//!
//! API keys and tokens of share links are random, so nobody guesses one; but each that is unknown costs a statement. An address
//! that has tried many is refused without one, unless it presents what was good a moment ago. Passwords are counted by address
//! here too, over all links and folders together. What the credentials mean is not known here.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    attempts::Attempts,
    counters::{Count, Counters},
};
use crate::domain::{ClientAddress, Result, TokenDigest};

/// Unknown keys and tokens from one address within [`WINDOW`].
const UNKNOWN_PER_ADDRESS: u32 = 200;
/// Wrong passwords of links and folders from one address within [`WINDOW`].
const PASSWORDS_PER_ADDRESS: u32 = 100;
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a credential that was good is looked up whatever its address has tried.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// Who tries how often.
pub(super) struct LookupGate {
    unknown: Attempts<ClientAddress>,
    passwords: Attempts<ClientAddress>,
    good: Mutex<Counters<TokenDigest, Good>>,
}

#[derive(Clone, Copy)]
struct Good(Instant);

impl Count for Good {
    fn weight(&self) -> u32 {
        1
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.0) >= GOOD_FOR
    }
}

impl Default for LookupGate {
    fn default() -> Self {
        LookupGate {
            unknown: Attempts::new(UNKNOWN_PER_ADDRESS, WINDOW),
            passwords: Attempts::new(PASSWORDS_PER_ADDRESS, WINDOW),
            good: Mutex::default(),
        }
    }
}

impl LookupGate {
    /// Whether a credential may be looked up.
    ///
    /// # Errors
    /// `RateLimited` when the address has tried too many that are unknown, and this was not good within the last hour.
    pub(super) fn check(&self, digest: &TokenDigest, address: ClientAddress) -> Result<()> {
        let now = Instant::now();
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.get_mut(digest).is_some_and(|good| !good.is_over(now)) {
            return Ok(());
        }
        drop(good);
        self.unknown.check(&address)
    }

    /// Notes that a credential was looked up, and whether there is such a one.
    pub(super) fn was_looked_up(&self, digest: &TokenDigest, address: ClientAddress, is_good: bool) {
        if is_good {
            let now = Instant::now();
            let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
            *good.of(*digest, now, Good(now)) = Good(now);
        } else {
            // Beyond what is allowed it is known to be too many already.
            let _ = self.unknown.count(address);
        }
    }

    /// Counts a password of a link or a folder.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(super) fn count_password(&self, address: ClientAddress) -> Result<()> {
        self.passwords.count(address)
    }

    /// Takes a password back that was right, or was not looked at.
    pub(super) fn take_password_back(&self, address: ClientAddress) {
        self.passwords.take_back(&address);
    }
}
