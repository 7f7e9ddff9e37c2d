//! Secrets that are stored: passwords, slow on purpose, and random tokens, fast because nobody can guess them.
//!
//! Passwords are hashed with argon2id away from the threads that answer requests, a few at a time: each takes 19 MiB and tens
//! of milliseconds. Callers take turns at it (`turns.rs`), so that whoever sends many does not get all of the machine. Tokens are looked up by
//! their SHA-256, which needs no comparison in constant time.

use super::{Caller, Priority, TurnLimits, Turns};
use crate::domain::{Error, Result};
use argon2::{
    Argon2, Params,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use rand::{TryRng, rngs::SysRng};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Longer passwords are refused before any work is spent on them.
pub const MAX_PASSWORD_BYTES: usize = 1024;
const PARALLEL: usize = 2;
/// More than guess at the same moment in a storm of a few hundred: at the pace of two cores this is some seconds of work.
const WAITING: usize = 512;
/// Salt of the hash that is made when there is no password to compare with. It protects nothing.
const DUMMY_SALT: [u8; 16] = *b"no such password";

/// Hashes and verifies passwords. Cheap to clone; the clones share the queue.
#[derive(Clone)]
pub struct SecretHasher {
    turns: Turns,
    priority: Priority,
}

impl Default for SecretHasher {
    fn default() -> Self {
        SecretHasher::new(PARALLEL, WAITING)
    }
}

impl SecretHasher {
    /// At most `parallel` hashes at a time, and `waiting` more that wait for their turn; of one caller an eighth of that.
    #[must_use]
    pub fn new(parallel: usize, waiting: usize) -> Self {
        let of_one = (waiting / 8).max(16);
        let limits = TurnLimits { at_once: parallel, share: parallel, waiting: of_one, waiting_in_all: waiting };
        SecretHasher { turns: Turns::new(limits), priority: Priority::Normal }
    }

    /// The same hasher for somebody of whom something good is known, who goes before strangers. Accounts do so anyway.
    #[must_use]
    pub fn favouring(&self) -> Self {
        SecretHasher { turns: self.turns.clone(), priority: Priority::High }
    }

    /// The hash to store, in PHC form with its parameters and a salt of its own.
    ///
    /// # Errors
    /// `InvalidArgument` above [`MAX_PASSWORD_BYTES`]; `RateLimited` when too many wait for this caller, `Overloaded` when too
    /// many wait at all.
    pub async fn hash(&self, password: &SecretString) -> Result<String> {
        self.work(password, |password| {
            Argon2::default().hash_password(password).map(|hash| hash.to_string()).map_err(Error::internal)
        })
        .await
    }

    /// Whether the password is the one that was hashed.
    ///
    /// # Errors
    /// As [`SecretHasher::hash`]; `Internal` when `hash` is none of ours.
    pub async fn verify(&self, password: &SecretString, hash: &str) -> Result<bool> {
        let hash = PasswordHash::new(hash).map_err(Error::internal)?;
        // What is stored decides the cost, so what is stored must not decide too much.
        let params = Params::try_from(&hash).map_err(Error::internal)?;
        if params.m_cost() > 4 * Params::DEFAULT_M_COST || params.t_cost() > 16 || params.p_cost() > 4 {
            return Err(Error::internal("a stored password hash asks for too much work"));
        }
        self.work(password, move |password| match Argon2::default().verify_password(password, &hash) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Error::internal(error)),
        })
        .await
    }

    /// As much work as [`SecretHasher::verify`], for when there is nothing to compare with: an unknown account must not
    /// answer faster than a wrong password.
    ///
    /// # Errors
    /// As [`SecretHasher::hash`].
    pub async fn verify_dummy(&self, password: &SecretString) -> Result<()> {
        self.work(password, |password| {
            let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
            Argon2::default().hash_password_into(password, &DUMMY_SALT, &mut output).map_err(Error::internal)
        })
        .await
    }

    /// The same for the same password and salt, and as slow as [`SecretHasher::hash`]: by this, passwords are told apart where a
    /// fast digest could be guessed from.
    ///
    /// # Errors
    /// As [`SecretHasher::hash`].
    pub async fn fingerprint(&self, password: &SecretString, salt: [u8; 32]) -> Result<[u8; 32]> {
        self.work(password, move |password| {
            let mut output = [0; 32];
            Argon2::default().hash_password_into(password, &salt, &mut output).map_err(Error::internal)?;
            Ok(output)
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        password: &SecretString,
        work: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if password.expose_secret().len() > MAX_PASSWORD_BYTES {
            return Err(Error::invalid(format!("A password has at most {MAX_PASSWORD_BYTES} bytes")));
        }
        let caller = Caller::current();
        let priority = match caller {
            Caller::Account(_) | Caller::System => Priority::High,
            Caller::Address(_) => self.priority,
        };
        let turn = self.turns.take_with(caller, priority).await?;
        let password = password.clone();
        // The turn goes along: a request that is given up frees its place only when its hash is really done.
        let work = move || {
            let result = work(password.expose_secret().as_bytes());
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

/// A new token of 256 random bits: `prefix_` and 43 characters that are safe in URLs.
///
/// # Errors
/// `Internal` when the operating system has no randomness to give.
pub fn random_token(prefix: &str) -> Result<SecretString> {
    Ok(format!("{prefix}_{}", BASE64_URL_SAFE_NO_PAD.encode(random_salt()?)).into())
}

/// The token that takes the place of `token`: another 256 bits, derived from it by HMAC-SHA256. Whoever has only the salt, and
/// the digests that are stored, cannot tell it; whoever presents `token` again is told the same.
///
/// # Errors
/// Never for a key of any length; `Internal` if the library says otherwise.
pub fn derived_token(prefix: &str, token: &SecretString, salt: [u8; 32]) -> Result<SecretString> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose_secret().as_bytes()).map_err(Error::internal)?;
    mac.update(b"successor of a token\0");
    mac.update(&salt);
    Ok(format!("{prefix}_{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).into())
}

/// Random bytes to derive something with.
///
/// # Errors
/// `Internal` when the operating system has no randomness to give.
pub fn random_salt() -> Result<[u8; 32]> {
    let mut salt = [0; 32];
    SysRng.try_fill_bytes(&mut salt).map_err(Error::internal)?;
    Ok(salt)
}

/// Under what a random token is stored and looked up: its SHA-256. Not for what a person made up.
#[must_use]
pub fn token_digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::atomic::{AtomicUsize, Ordering},
        time::{Duration, Instant},
    };

    use futures_util::future::join_all;

    use super::*;
    use crate::domain::Code;

    #[tokio::test]
    async fn passwords_are_told_apart() {
        let hasher = SecretHasher::default();
        let (right, wrong) = (SecretString::from("Grüße"), SecretString::from("grüße"));
        let hash = hasher.hash(&right).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(&right, &hash).await.unwrap());
        assert!(!hasher.verify(&wrong, &hash).await.unwrap());
        assert_ne!(hasher.hash(&right).await.unwrap(), hash);
    }

    #[tokio::test]
    async fn a_fingerprint_depends_on_the_password_and_the_salt() {
        let hasher = SecretHasher::default();
        let of = async |password: &str, salt: u8| {
            hasher.fingerprint(&SecretString::from(password), [salt; 32]).await.unwrap()
        };
        assert_eq!(of("x", 1).await, of("x", 1).await);
        assert_ne!(of("x", 1).await, of("y", 1).await);
        assert_ne!(of("x", 1).await, of("x", 2).await);
    }

    #[tokio::test]
    async fn what_is_stored_does_not_decide_the_cost() {
        let hasher = SecretHasher::default();
        let password = SecretString::from("x");
        for hash in [
            "",
            "plain",
            "$argon2id$v=19$m=4194304,t=2,p=1$bm8gc3VjaCBwYXNzd29yZA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=9999,p=1$bm8gc3VjaCBwYXNzd29yZA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(hasher.verify(&password, hash).await.unwrap_err().code(), Code::Internal, "{hash}");
        }
    }

    #[tokio::test]
    async fn long_passwords_cost_nothing() {
        let hasher = SecretHasher::new(1, 0);
        let longest = SecretString::from("x".repeat(MAX_PASSWORD_BYTES));
        let too_long = SecretString::from("x".repeat(MAX_PASSWORD_BYTES + 1));
        assert!(hasher.hash(&longest).await.is_ok());
        assert_eq!(hasher.hash(&too_long).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(hasher.verify_dummy(&too_long).await.unwrap_err().code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_empties() {
        let hasher = SecretHasher::new(2, 3);
        let password = SecretString::from("x");
        let from = Caller::Address(IpAddr::from([192, 0, 2, 1]).into());
        let results = join_all((0..9).map(|_| from.scope(hasher.verify_dummy(&password)))).await;
        let refused = results.iter().filter(|result| result.as_ref().is_err_and(|e| e.code() == Code::Overloaded));
        assert_eq!(refused.count(), 4);
        assert!(hasher.verify_dummy(&password).await.is_ok());
        let again = join_all((0..5).map(|_| from.scope(hasher.verify_dummy(&password)))).await;
        assert!(again.iter().all(Result::is_ok), "no place is lost");
    }

    #[tokio::test]
    async fn an_honest_sign_in_beside_two_hundred_guesses_waits_for_a_few_hashes() {
        let hasher = SecretHasher::new(1, 512);
        let done = AtomicUsize::new(0);
        let hash = async |caller: Caller, hasher: &SecretHasher| {
            let password = SecretString::from("x");
            let before = done.load(Ordering::Relaxed);
            let outcome = caller.scope(hasher.verify_dummy(&password)).await;
            let between = done.fetch_add(1, Ordering::Relaxed) - before;
            (outcome.is_ok(), between)
        };
        let from = |number: u8| Caller::Address(IpAddr::from([192, 0, 2, number]).into());
        // All from one address, then each from its own.
        for spread in [false, true] {
            let guesses = join_all((0..200).map(|number| hash(from(if spread { number + 1 } else { 1 }), &hasher)));
            let known = hasher.favouring();
            let honest = async {
                let honest = if spread { hash(from(250), &known).await } else { hash(from(250), &hasher).await };
                (honest, done.load(Ordering::Relaxed))
            };
            // The honest one comes when the guesses have come.
            let (guesses, (honest, _)) = tokio::join!(biased; guesses, honest);
            assert!(honest.0 && honest.1 <= 3, "{honest:?}, spread: {spread}");
            let made = guesses.iter().filter(|(is_made, _)| *is_made).count();
            assert_eq!(made, if spread { 200 } else { 65 }, "one works, and an eighth of the queue waits");
        }
    }

    #[tokio::test]
    async fn an_unknown_account_costs_as_much_as_a_wrong_password() {
        let hasher = SecretHasher::default();
        let password = SecretString::from("x");
        let hash = hasher.hash(&password).await.unwrap();
        let mut fastest = [Duration::MAX; 2];
        for _ in 0..5 {
            let start = Instant::now();
            hasher.verify(&password, &hash).await.unwrap();
            let known = start.elapsed();
            let start = Instant::now();
            hasher.verify_dummy(&password).await.unwrap();
            fastest = [fastest[0].min(known), fastest[1].min(start.elapsed())];
        }
        let [known, unknown] = fastest.map(|time| time.as_secs_f64());
        assert!((0.5..2.0).contains(&(unknown / known)), "{known} s, {unknown} s");
    }

    #[test]
    fn a_derived_token_depends_on_the_token_and_the_salt() {
        let of = |token: &str, salt: u8| {
            derived_token("refresh", &token.into(), [salt; 32]).unwrap().expose_secret().to_owned()
        };
        assert_eq!(of("refresh_a", 1).len(), "refresh_".len() + 43);
        assert_eq!(of("refresh_a", 1), of("refresh_a", 1));
        assert_ne!(of("refresh_a", 1), of("refresh_a", 2));
        assert_ne!(of("refresh_a", 1), of("refresh_b", 1));
    }

    #[test]
    fn tokens_are_random_and_their_digest_is_sha_256() {
        let token = random_token("share").unwrap();
        assert_eq!(token.expose_secret().len(), "share_".len() + 43);
        assert_ne!(token.expose_secret(), random_token("share").unwrap().expose_secret());
        let hex: String = token_digest("abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
