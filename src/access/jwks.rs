//! Keys that others publish as a JSON Web Key Set, kept, renewed and rotated.
//!
//! A set is kept as long as its publisher says, within bounds. A key id that is not in it has the set fetched again, but no
//! more than once in a while, whoever asks how often. While the publisher is down, the keys that are known stay in use,
//! for a day at most. One fetch runs at a time; it runs to its end even if the request that began it is gone.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::domain::{Code, Error, Fetch, Result};

const MAX_SET_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 32;
/// RSA moduli from 2048 to 4096 bits: shorter ones can be broken, longer ones cost too much.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// When a set is fetched again.
#[derive(Clone, Copy, Debug)]
pub struct KeySetTimes {
    /// How long a set is kept if its publisher does not say.
    pub default_age: Duration,
    /// Lower bound of what its publisher may say.
    pub min_age: Duration,
    /// Upper bound of what its publisher may say.
    pub max_age: Duration,
    /// Between two attempts to fetch, for whatever reason.
    pub between_fetches: Duration,
    /// How long keys stay in use beyond their age while the publisher cannot be reached.
    pub outage: Duration,
}

impl Default for KeySetTimes {
    fn default() -> Self {
        KeySetTimes {
            default_age: Duration::from_secs(600),
            min_age: Duration::from_secs(60),
            max_age: Duration::from_secs(86_400),
            between_fetches: Duration::from_secs(30),
            outage: Duration::from_secs(86_400),
        }
    }
}

/// A published key and the one algorithm it is for.
#[derive(Clone)]
pub(super) struct PublishedKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

struct Known {
    keys: Vec<PublishedKey>,
    fresh_until: Instant,
}

impl Known {
    /// The key of that id; without an id, the only key that it could be.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<PublishedKey> {
        let fits = |key: &&PublishedKey| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        let mut fitting = self.keys.iter().filter(fits);
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then(|| first.clone())
    }
}

/// The keys of one publisher.
pub struct KeySet(Arc<Inner>);

struct Inner {
    source: Arc<dyn Fetch>,
    times: KeySetTimes,
    known: RwLock<Option<Arc<Known>>>,
    /// Held while fetching; remembers when that last began.
    fetching: Arc<Mutex<Option<Instant>>>,
}

impl KeySet {
    /// Keys from `source`, which is asked when the first token comes.
    #[must_use]
    pub fn new(source: Arc<dyn Fetch>, times: KeySetTimes) -> Self {
        let known = RwLock::new(None);
        KeySet(Arc::new(Inner { source, times, known, fetching: Arc::default() }))
    }

    /// The key for a token.
    ///
    /// # Errors
    /// `Unauthenticated` if no such key is published, `Overloaded` if that cannot be known at the moment.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<PublishedKey> {
        let known = self.0.known();
        let found = known.as_ref().and_then(|known| known.find(id, algorithm));
        let fresh = known.as_ref().is_some_and(|known| Instant::now() < known.fresh_until);
        match (found, fresh) {
            (Some(key), true) => return Ok(key),
            // One request renews; the others need not wait for it.
            (Some(key), false) => match Arc::clone(&self.0.fetching).try_lock_owned() {
                Ok(turn) => self.0.renew(turn).await,
                Err(_) if self.0.is_usable(known.as_deref()) => return Ok(key),
                Err(_) => {}
            },
            (None, _) => {
                let turn = Arc::clone(&self.0.fetching).lock_owned().await;
                self.0.renew(turn).await;
            }
        }
        let known = self.0.known().filter(|known| self.0.is_usable(Some(known)));
        let known =
            known.ok_or_else(|| Error::new(Code::Overloaded, "The signing keys cannot be fetched at the moment"))?;
        known.find(id, algorithm).ok_or_else(|| Error::unauthenticated("The token is signed with an unknown key"))
    }
}

impl Inner {
    fn known(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_usable(&self, known: Option<&Known>) -> bool {
        known.is_some_and(|known| Instant::now() < known.fresh_until + self.times.outage)
    }

    /// Fetches the set, unless that was tried a moment ago.
    async fn renew(self: &Arc<Self>, mut turn: OwnedMutexGuard<Option<Instant>>) {
        let now = Instant::now();
        if turn.is_some_and(|last| now.duration_since(last) < self.times.between_fetches) {
            return;
        }
        *turn = Some(now);
        let inner = Arc::clone(self);
        // A task of its own: whoever hangs up in the middle must not cost the others their keys.
        let task = tokio::spawn(async move {
            match inner.fetch().await {
                Ok(known) => *inner.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known)),
                Err(error) => tracing::warn!(cause = ?error.cause(), "signing keys were not fetched: {error}"),
            }
            drop(turn);
        });
        if let Err(error) = task.await {
            tracing::error!("fetching the signing keys broke off: {error}");
        }
    }

    async fn fetch(&self) -> Result<Known> {
        let fetched = self.source.fetch().await?;
        let keys = read(&fetched.body)?;
        let KeySetTimes { default_age, min_age, max_age, .. } = self.times;
        let age = fetched.max_age.unwrap_or(default_age).clamp(min_age, max_age);
        Ok(Known { keys, fresh_until: Instant::now() + age })
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The keys of a set that can verify tokens. Others, of a kind we do not know or for other ends, are left out.
fn read(body: &[u8]) -> Result<Vec<PublishedKey>> {
    let unusable = |why: &str| Error::caused(Code::Overloaded, "The published keys cannot be used", why);
    if body.len() > MAX_SET_BYTES {
        return Err(unusable("more than 64 kB"));
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| unusable("not a JSON Web Key Set"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(unusable("more than 32 keys"));
    }
    let keys = set.keys.into_iter().filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let algorithm = algorithm_of(&key)?;
        let decoding = DecodingKey::from_jwk(&key).ok()?;
        Some(PublishedKey { id: key.common.key_id, algorithm, key: decoding })
    });
    Ok(keys.collect())
}

/// The one algorithm a key is for: by its kind, and by what it says itself.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    let common = &key.common;
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !verifies || common.public_key_use.as_ref().is_some_and(|its_use| *its_use != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, name) = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(rsa.n.trim_end_matches('=')).ok()?;
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            if !RSA_MODULUS_BYTES.contains(&significant) {
                return None;
            }
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        // A symmetric key that is published is nobody's secret.
        _ => return None,
    };
    common.key_algorithm.is_none_or(|named| named == name).then_some(algorithm)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ec(extra: Value) -> Value {
        let mut key = json!({
            "kty": "EC", "crv": "P-256", "kid": "a",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    fn algorithms(keys: &[Value]) -> Vec<Algorithm> {
        let set = json!({ "keys": keys }).to_string();
        read(set.as_bytes()).unwrap().iter().map(|key| key.algorithm).collect()
    }

    #[test]
    fn only_keys_for_signatures_are_taken() {
        let rsa =
            |bytes: usize| json!({ "kty": "RSA", "e": "AQAB", "n": BASE64_URL_SAFE_NO_PAD.encode(vec![0xff; bytes]) });
        assert_eq!(algorithms(&[ec(json!({}))]), [Algorithm::ES256]);
        assert_eq!(
            algorithms(&[ec(json!({ "use": "sig", "alg": "ES256", "key_ops": ["verify"] }))]),
            [Algorithm::ES256]
        );
        assert_eq!(algorithms(&[rsa(256)]), [Algorithm::RS256]);
        for other in [
            ec(json!({ "use": "enc" })),
            ec(json!({ "key_ops": ["deriveKey"] })),
            ec(json!({ "alg": "ES384" })),
            ec(json!({ "alg": "HS256" })),
            ec(json!({ "crv": "P-384" })),
            rsa(128),
            rsa(1024),
            json!({ "kty": "oct", "alg": "HS256", "k": "c2VjcmV0" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            json!({ "kty": "unheard of" }),
            json!("not even an object"),
        ] {
            assert_eq!(algorithms(&[other.clone(), ec(json!({}))]), [Algorithm::ES256], "{other}");
        }
    }

    #[test]
    fn sets_are_bounded() {
        let keys = |count: usize| json!({ "keys": vec![ec(json!({})); count] }).to_string();
        assert_eq!(read(keys(32).as_bytes()).unwrap().len(), 32);
        assert!(read(keys(33).as_bytes()).is_err());
        let padded = format!("{}{}", keys(1), " ".repeat(MAX_SET_BYTES));
        assert!(read(padded.as_bytes()).is_err());
        for body in ["", "[]", "{}", "{\"keys\":1}", "<html>"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn without_an_id_only_an_unmistakable_key_is_found() {
        let set = |ids: &[&str]| {
            let keys: Vec<_> = ids.iter().map(|id| ec(json!({ "kid": id }))).collect();
            let keys = read(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
            Known { keys, fresh_until: Instant::now() }
        };
        assert!(set(&["a"]).find(None, Algorithm::ES256).is_some());
        assert!(set(&["a"]).find(None, Algorithm::RS256).is_none());
        assert!(set(&["a", "b"]).find(None, Algorithm::ES256).is_none());
        assert!(set(&["a", "b"]).find(Some("b"), Algorithm::ES256).is_some());
        assert!(set(&["a", "b"]).find(Some("c"), Algorithm::ES256).is_none());
    }
}
