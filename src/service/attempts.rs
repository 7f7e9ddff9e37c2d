//! Counts attempts at guessing, per thing that is guessed at and address that guesses, so that one guesser neither
//! succeeds nor locks out the rightful holders.
//!
//! It counts in this process; a guesser who spreads over N gateways has N times as many attempts.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::{Code, Error, Result};

/// Keys that are remembered; beyond this the oldest are forgotten.
const MAX_KEYS: usize = 100_000;

/// Counts attempts per key within a window of time.
pub struct Attempts<K> {
    allowed: u32,
    window: Duration,
    counts: Mutex<HashMap<K, (Instant, u32)>>,
}

impl<K: Eq + Hash + Clone> Attempts<K> {
    /// Allows `allowed` attempts for a key within `window`.
    #[must_use]
    pub fn new(allowed: u32, window: Duration) -> Self {
        Attempts { allowed, window, counts: Mutex::default() }
    }

    /// Counts one attempt.
    ///
    /// # Errors
    /// `RateLimited` when the key has none left; the message names the seconds to wait.
    pub fn count(&self, key: K) -> Result<()> {
        let now = Instant::now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_KEYS {
            counts.retain(|_, (since, _)| now.duration_since(*since) < self.window);
            if counts.len() >= MAX_KEYS
                && let Some(oldest) = counts.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| key.clone())
            {
                counts.remove(&oldest);
            }
        }
        let (since, count) = counts.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= self.window {
            (*since, *count) = (now, 0);
        }
        if *count >= self.allowed {
            let wait = self.window.saturating_sub(now.duration_since(*since)).as_secs() + 1;
            return Err(Error::new(Code::RateLimited, format!("Too many attempts; try again in {wait} seconds")));
        }
        *count += 1;
        Ok(())
    }

    /// Forgets the attempts of a key, after a success.
    pub fn forgive(&self, key: &K) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_runs_out_and_others_do_not() {
        let attempts = Attempts::new(2, Duration::from_secs(60));
        assert!(attempts.count("a").is_ok() && attempts.count("a").is_ok());
        assert_eq!(attempts.count("a").unwrap_err().code(), Code::RateLimited);
        assert!(attempts.count("b").is_ok());
        attempts.forgive(&"a");
        assert!(attempts.count("a").is_ok());
    }
}
