//! Secrets that are stored: passwords, slow on purpose, and random tokens, fast because nobody can guess them.
//!
//! Passwords are hashed with argon2id away from the threads that answer requests, a few at a time and with a bounded queue:
//! each takes 19 MiB and tens of milliseconds, so that whoever sends many must not get all of the machine. Tokens are looked up by
//! their SHA-256, which needs no comparison in constant time.

use std::sync::Arc;

use argon2::{
    Argon2, Params,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::domain::{Code, Error, Result};

/// Longer passwords are refused before any work is spent on them.
pub const MAX_PASSWORD_BYTES: usize = 1024;
const PARALLEL: usize = 2;
const WAITING: usize = 64;
/// Salt of the hash that is made when there is no password to compare with. It protects nothing.
const DUMMY_SALT: [u8; 16] = *b"no such password";

/// Hashes and verifies passwords. Cheap to clone; the clones share the queue.
#[derive(Clone)]
pub struct SecretHasher {
    /// Whoever works or waits.
    admitted: Arc<Semaphore>,
    /// Whoever works.
    working: Arc<Semaphore>,
}

impl Default for SecretHasher {
    fn default() -> Self {
        SecretHasher::new(PARALLEL, WAITING)
    }
}

impl SecretHasher {
    /// At most `parallel` hashes at a time, and `waiting` more that wait for their turn.
    #[must_use]
    pub fn new(parallel: usize, waiting: usize) -> Self {
        let parallel = parallel.max(1);
        SecretHasher {
            admitted: Arc::new(Semaphore::new(parallel.saturating_add(waiting))),
            working: Arc::new(Semaphore::new(parallel)),
        }
    }

    /// The hash to store, in PHC form with its parameters and a salt of its own.
    ///
    /// # Errors
    /// `InvalidArgument` above [`MAX_PASSWORD_BYTES`], `Overloaded` when too many are waiting.
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
        let overloaded = || Error::new(Code::Overloaded, "Too many passwords are being checked; try again");
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| overloaded())?;
        let turn = Arc::clone(&self.working).acquire_owned().await.map_err(Error::internal)?;
        let password = password.clone();
        // Both permits go along: a request that is given up frees its place only when its hash is really done.
        let work = move || {
            let result = work(password.expose_secret().as_bytes());
            drop((turn, admitted));
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
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(Error::internal)?;
    Ok(format!("{prefix}_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)).into())
}

/// Under what a random token is stored and looked up: its SHA-256. Not for what a person made up.
#[must_use]
pub fn token_digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures_util::future::join_all;

    use super::*;

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
        let results = join_all((0..9).map(|_| hasher.verify_dummy(&password))).await;
        let refused = results.iter().filter(|result| result.as_ref().is_err_and(|e| e.code() == Code::Overloaded));
        assert_eq!(refused.count(), 4);
        assert!(hasher.verify_dummy(&password).await.is_ok());
        assert_eq!((hasher.working.available_permits(), hasher.admitted.available_permits()), (2, 5));
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
    fn tokens_are_random_and_their_digest_is_sha_256() {
        let token = random_token("share").unwrap();
        assert_eq!(token.expose_secret().len(), "share_".len() + 43);
        assert_ne!(token.expose_secret(), random_token("share").unwrap().expose_secret());
        let hex: String = token_digest("abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
