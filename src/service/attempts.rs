//! Counts attempts at guessing, per thing that is guessed at and address that guesses, so that one guesser neither
//! succeeds nor locks out the rightful holders. [`Attempts`] allows so many within a window; after some that are free,
//! [`Delays`] makes each further one wait twice as long as the one before.
//!
//! Both count in this process; a guesser who spreads over N gateways has N times as many attempts. What is counted is an
//! attempt and not a request: whoever puts many into one request calls this many times.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::{Code, Error, Result};

/// Keys that are remembered; beyond this the oldest are forgotten.
const MAX_KEYS: usize = 100_000;
/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);
/// After so long without an attempt, the attempts before are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

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
        self.count_at(key, Instant::now())
    }

    fn count_at(&self, key: K, now: Instant) -> Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut counts, |(since, _)| *since, now, self.window);
        let (since, count) = counts.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= self.window {
            (*since, *count) = (now, 0);
        }
        if *count >= self.allowed {
            return Err(too_many(self.window.saturating_sub(now.duration_since(*since))));
        }
        *count += 1;
        Ok(())
    }

    /// Forgets the attempts of a key, after a success.
    pub fn forgive(&self, key: &K) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Takes one attempt back, which turned out to be none; those before it stay counted.
    pub fn take_back(&self, key: &K) {
        if let Some((_, count)) = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Makes attempts wait: some are free, after the next one second has to pass, then two, four, up to a quarter of an hour.
pub struct Delays<K> {
    free: u32,
    counts: Mutex<HashMap<K, Tries>>,
}

#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    /// When the next one may be made.
    next: Instant,
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
        make_room(&mut counts, |tries| tries.next, now, FORGOTTEN_AFTER);
        let fresh = Tries { count: 0, next: now };
        let tries = counts.entry(key).or_insert(fresh);
        if now.saturating_duration_since(tries.next) >= FORGOTTEN_AFTER {
            *tries = fresh;
        }
        if now < tries.next {
            return Err(too_many(tries.next.duration_since(now)));
        }
        tries.count = tries.count.saturating_add(1);
        tries.next = now + self.delay_after(tries.count);
        Ok(())
    }

    fn delay_after(&self, count: u32) -> Duration {
        match count.checked_sub(self.free) {
            Some(doublings) => Duration::from_secs(1 << doublings.min(16)).min(LONGEST_DELAY),
            None => Duration::ZERO,
        }
    }

    /// Forgets the attempts of a key, after a success.
    pub fn forgive(&self, key: &K) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn too_many(wait: Duration) -> Error {
    let seconds = wait.as_secs() + 1;
    Error::new(Code::RateLimited, format!("Too many attempts; try again in {seconds} seconds"))
}

/// Makes room for one more key: what is over goes, else what is oldest.
fn make_room<K: Eq + Hash + Clone, V>(
    counts: &mut HashMap<K, V>,
    since: impl Fn(&V) -> Instant,
    now: Instant,
    kept_for: Duration,
) {
    if counts.len() < MAX_KEYS {
        return;
    }
    counts.retain(|_, value| now.saturating_duration_since(since(value)) < kept_for);
    if counts.len() >= MAX_KEYS
        && let Some(oldest) = counts.iter().min_by_key(|(_, value)| since(value)).map(|(key, _)| key.clone())
    {
        counts.remove(&oldest);
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
