//! Counts attempts at guessing, per thing that is guessed at and address that guesses, so that one guesser neither
//! succeeds nor locks out the rightful holders. [`Attempts`] allows so many within a window; after some that are free,
//! [`Delays`] makes each further one wait twice as long as the one before.
//!
//! Both count in this process; a guesser who spreads over N gateways has N times as many attempts. What is counted is an
//! attempt and not a request: whoever puts many into one request calls this many times.

use std::{
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::counters::{Count, Counters};
use crate::domain::{Code, Error, Result};

/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);
/// After so long without an attempt, the attempts before are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Counts attempts per key within a window of time.
pub struct Attempts<K> {
    allowed: u32,
    window: Duration,
    counts: Mutex<Counters<K, Within>>,
}

#[derive(Clone, Copy)]
struct Within {
    since: Instant,
    count: u32,
    window: Duration,
}

impl Count for Within {
    fn weight(&self) -> u32 {
        self.count
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.window
    }
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
        self.count_at(key, Instant::now())
    }

    fn count_at(&self, key: K, now: Instant) -> Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Within { since: now, count: 0, window: self.window };
        let within = counts.of(key, now, fresh);
        if within.count >= self.allowed {
            return Err(too_many(self.window.saturating_sub(now.saturating_duration_since(within.since))));
        }
        within.count += 1;
        Ok(())
    }

    /// Whether the key has an attempt left; counts nothing.
    ///
    /// # Errors
    /// As [`Attempts::count`].
    pub fn check(&self, key: &K) -> Result<()> {
        let (mut counts, now) = (self.counts.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        match counts.get_mut(key).filter(|within| !within.is_over(now) && within.count >= self.allowed) {
            Some(within) => Err(too_many(self.window.saturating_sub(now.saturating_duration_since(within.since)))),
            None => Ok(()),
        }
    }

    /// Forgets the attempts of a key, after a success.
    pub fn forgive(&self, key: &K) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Takes one attempt back, which turned out to be none; those before it stay counted.
    pub fn take_back(&self, key: &K) {
        if let Some(within) = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            within.count = within.count.saturating_sub(1);
        }
    }
}

/// Makes attempts wait: some are free, after the next one second has to pass, then two, four, up to a quarter of an hour.
pub struct Delays<K> {
    free: u32,
    counts: Mutex<Counters<K, Tries>>,
}

#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    /// When the next one may be made.
    next: Instant,
}

impl Count for Tries {
    fn weight(&self) -> u32 {
        self.count
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.next) >= FORGOTTEN_AFTER
    }
}

impl<K: Eq + Hash + Clone> Delays<K> {
    /// Lets `free` attempts follow each other at will.
    #[must_use]
    pub fn new(free: u32) -> Self {
        Delays { free, counts: Mutex::default() }
    }

    /// Counts one attempt. One that comes too early is not counted, because it is not made.
    ///
    /// # Errors
    /// `RateLimited` while the wait lasts; the message names the seconds.
    pub fn count(&self, key: K) -> Result<()> {
        self.count_at(key, Instant::now())
    }

    fn count_at(&self, key: K, now: Instant) -> Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = counts.of(key, now, Tries { count: 0, next: now });
        if now < tries.next {
            return Err(too_many(tries.next.duration_since(now)));
        }
        tries.count = tries.count.saturating_add(1);
        tries.next = now + delay_after(tries.count, self.free);
        Ok(())
    }

    /// Forgets the attempts of a key, after a success.
    pub fn forgive(&self, key: &K) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn delay_after(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        Some(doublings) => Duration::from_secs(1 << doublings.min(16)).min(LONGEST_DELAY),
        None => Duration::ZERO,
    }
}

fn too_many(wait: Duration) -> Error {
    let seconds = wait.as_secs() + 1;
    Error::new(Code::RateLimited, format!("Too many attempts; try again in {seconds} seconds"))
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
        attempts.take_back(&"a");
        assert!(attempts.count("a").is_ok() && attempts.count("a").is_err());
        attempts.forgive(&"a");
        assert!(attempts.count("a").is_ok() && attempts.count("a").is_ok());
    }

    #[test]
    fn a_window_that_is_over_begins_anew() {
        let (attempts, start) = (Attempts::new(1, Duration::from_secs(60)), Instant::now());
        assert!(attempts.count_at("a", start).is_ok());
        assert!(attempts.count_at("a", start + Duration::from_secs(59)).is_err());
        assert!(attempts.count_at("a", start + Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_a_quarter_of_an_hour() {
        let (delays, mut now) = (Delays::new(3), Instant::now());
        for _ in 0..3 {
            assert!(delays.count_at("a", now).is_ok(), "the first three are free");
        }
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900] {
            let early = now + Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(delays.count_at("a", early).unwrap_err().code(), Code::RateLimited, "{seconds} s");
            now += Duration::from_secs(seconds);
            assert!(delays.count_at("a", now).is_ok(), "after {seconds} s");
        }
        assert!(delays.count_at("b", now).is_ok(), "another key is not concerned");
    }

    #[test]
    fn who_comes_too_early_does_not_wait_longer_for_it() {
        let (delays, now) = (Delays::new(1), Instant::now());
        assert!(delays.count_at("a", now).is_ok());
        for _ in 0..100 {
            let error = delays.count_at("a", now).unwrap_err();
            assert!(error.message().contains("in 2 seconds"), "{error}");
        }
        assert!(delays.count_at("a", now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn success_and_a_day_of_quiet_make_attempts_free_again() {
        let (delays, now) = (Delays::new(1), Instant::now());
        assert!(delays.count_at("a", now).is_ok() && delays.count_at("a", now).is_err());
        delays.forgive(&"a");
        assert!(delays.count_at("a", now).is_ok());
        let later = now + Duration::from_secs(1) + FORGOTTEN_AFTER;
        assert!(delays.count_at("a", later).is_ok());
        assert!(delays.count_at("a", later + Duration::from_secs(1)).is_ok(), "the first wait again, not the second");
    }
}
