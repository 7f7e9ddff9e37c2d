//! How many bytes of requests are held at the same time: from one address, and in all. So nobody fills the memory with
//! requests that arrive, wait for their turn, or follow.
//!
//! Whoever holds little is let in always: others who hold very much do not keep it out. What a request weighs is
//! `asked.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::tally::Tally;
use crate::{
    config::LimitsConfig,
    domain::{ClientAddress, Code, Error, Result},
};

/// What an address may hold however much others do: an ordinary request. The bound of connections bounds all of these
/// together.
const ALWAYS: usize = 16 << 10;
/// One address holds no more than this part of all.
const PART: usize = 8;
/// Largest bodies that one address may hold, however little all may hold.
const FEWEST_BODIES: usize = 4;

/// What is held by everybody.
pub(super) struct HeldBytes {
    most: usize,
    most_per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    per_address: Tally,
}

impl HeldBytes {
    /// Nothing is held yet.
    pub(super) fn new(limits: &LimitsConfig) -> Arc<Self> {
        let most_per_address = (limits.max_held_bytes / PART).max(limits.max_body_bytes.saturating_mul(FEWEST_BODIES));
        let most = limits.max_held_bytes.max(most_per_address.saturating_mul(2));
        Arc::new(HeldBytes { most, most_per_address, counts: Mutex::default() })
    }

    /// A request of an address, of which nothing is there yet.
    pub(super) fn hold(self: &Arc<Self>, address: ClientAddress) -> Held {
        Held { held_bytes: Arc::clone(self), address, bytes: 0 }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is held of one request; it is free again when this is dropped.
pub(super) struct Held {
    held_bytes: Arc<HeldBytes>,
    address: ClientAddress,
    bytes: usize,
}

impl Held {
    /// Notes that so many bytes are held now. To hold less is never refused.
    ///
    /// # Errors
    /// `CostExceeded` for what would never fit. `RateLimited` when the address holds too much with it, `Overloaded`
    /// when all together do.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<()> {
        let HeldBytes { most, most_per_address, .. } = *self.held_bytes;
        let mut counts = self.held_bytes.counts();
        let own = counts.per_address.of(self.address).saturating_sub(self.bytes).saturating_add(bytes);
        let all = counts.all.saturating_sub(self.bytes).saturating_add(bytes);
        if bytes > self.bytes && own > ALWAYS {
            if bytes > most_per_address {
                return Err(Error::new(Code::CostExceeded, "The request holds more values than can be read at once"));
            }
            if own > most_per_address {
                let message = "Too much of what comes from your address waits; send more when it is answered";
                return Err(Error::new(Code::RateLimited, message));
            }
            if all > most {
                return Err(Error::new(Code::Overloaded, "The server is busy; try again"));
            }
        }
        counts.per_address.set(self.address, own);
        counts.all = all;
        drop(counts);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Less is never refused.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const MOST: usize = 800_000;

    fn held_bytes() -> Arc<HeldBytes> {
        Arc::new(HeldBytes { most: MOST, most_per_address: MOST / PART, counts: Mutex::default() })
    }

    fn from(last: u8) -> ClientAddress {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn holding(held_bytes: &Arc<HeldBytes>, last: u8, bytes: usize) -> Result<Held> {
        let mut held = held_bytes.hold(from(last));
        held.resize(bytes).map(|()| held)
    }

    fn code(result: Result<Held>) -> Option<Code> {
        result.err().map(|error| error.code())
    }

    #[test]
    fn an_address_holds_its_part_and_what_is_dropped_is_free() {
        let held_bytes = held_bytes();
        let first = holding(&held_bytes, 1, 60_000).unwrap();
        let mut second = holding(&held_bytes, 1, 10_000).unwrap();
        assert_eq!(second.resize(41_000).unwrap_err().code(), Code::RateLimited);
        // It holds what it held before.
        assert_eq!((second.bytes, held_bytes.counts().all), (10_000, 70_000));
        second.resize(40_000).unwrap();
        assert_eq!(code(holding(&held_bytes, 1, 1)), Some(Code::RateLimited));
        assert_eq!(code(holding(&held_bytes, 1, MOST / PART + 1)), Some(Code::CostExceeded));
        assert!(holding(&held_bytes, 2, 90_000).is_ok());
        second.resize(1).unwrap();
        assert!(holding(&held_bytes, 1, 39_999).is_ok());
        drop((first, second));
        let counts = held_bytes.counts();
        assert_eq!((counts.all, counts.per_address.of(from(1))), (0, 0));
    }

    #[test]
    fn who_holds_little_is_let_in_whatever_the_others_hold() {
        let held_bytes = held_bytes();
        let all: Vec<Held> = (1..=8).map(|last| holding(&held_bytes, last, MOST / PART).unwrap()).collect();
        assert_eq!(code(holding(&held_bytes, 9, ALWAYS + 1)), Some(Code::Overloaded));
        let mut little = holding(&held_bytes, 9, ALWAYS).unwrap();
        assert_eq!(little.resize(ALWAYS + 1).unwrap_err().code(), Code::Overloaded);
        drop(all);
        little.resize(ALWAYS + 1).unwrap();
    }

    #[test]
    fn the_largest_body_always_fits() {
        use crate::config::{Config, Sources};
        let limits = |variables: &[(&str, &str)]| {
            Config::load(&Sources::from_variables(variables.iter().copied())).unwrap().limits
        };
        let usual = HeldBytes::new(&limits(&[]));
        assert_eq!((usual.most, usual.most_per_address), (256 << 20, 32 << 20));
        let large = HeldBytes::new(&limits(&[("RAGBOARD_MAX_BODY_BYTES", "1073741824")]));
        assert_eq!((large.most, large.most_per_address), (8 << 30, 4 << 30));
    }
}
