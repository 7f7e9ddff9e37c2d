//! Bearer tokens: JWTs that this program signs with its secret (HS256), or that others sign with keys they publish (RS256, ES256).
//!
//! The key decides the algorithm, never the token: the secret verifies HS256 and nothing else, a published key the one
//! algorithm it is for. `exp`, `iss`, `aud` and `sub` must be there and of their type, in our own tokens `typ` as well; clocks may
//! differ by 30 s.
//! Whether the account and the session of a valid token still stand is asked elsewhere, on every use. Messages never
//! repeat the token or its claims.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::jwks::KeySet;
use crate::domain::{Error, Result};

/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
const LEEWAY_SECONDS: u64 = 30;
const TYPE: &str = "access";

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the account, as the issuer writes it; not empty.
    pub subject: String,
    /// `exp`: when the token, and every stream opened with it, ends.
    pub expires_at: DateTime<Utc>,
    /// `sid`: the session it belongs to.
    pub session: Option<String>,
    /// `jti`: the token's own id.
    pub token_id: Option<String>,
}

/// Verifies tokens, and issues those that the program signs itself.
pub struct Tokens {
    issuer: String,
    audience: String,
    secret: Option<SecretString>,
    published: Option<Arc<KeySet>>,
}

impl Tokens {
    /// Tokens by `issuer` for `audience`. Without a key, every token is refused.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Tokens { issuer: issuer.into(), audience: audience.into(), secret: None, published: None }
    }

    /// Accepts and issues HS256 tokens of this secret.
    #[must_use]
    pub fn with_secret(self, secret: SecretString) -> Self {
        Tokens { secret: Some(secret), ..self }
    }

    /// Accepts RS256 and ES256 tokens of these published keys.
    #[must_use]
    pub fn with_published_keys(self, keys: Arc<KeySet>) -> Self {
        Tokens { published: Some(keys), ..self }
    }

    /// Checks signature and claims.
    ///
    /// # Errors
    /// `Unauthenticated` with what is wrong; `Overloaded` when the published keys were never reachable so far.
    pub async fn verify(&self, token: &str) -> Result<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::unauthenticated("The token is too long"));
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|error| Error::unauthenticated(explain(error.kind())))?;
        if header.crit.is_some() {
            return Err(Error::unauthenticated("The token demands extensions that are not supported"));
        }
        let is_published = header.alg != Algorithm::HS256;
        let claims = match (header.alg, &self.secret, &self.published) {
            (Algorithm::HS256, Some(secret), _) => {
                let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
                self.decode(token, &key, Algorithm::HS256)?
            }
            (Algorithm::RS256 | Algorithm::ES256, _, Some(published)) => {
                let key = published.find(header.kid.as_deref(), header.alg).await?;
                self.decode(token, &key.key, key.algorithm)?
            }
            _ => return Err(Error::unauthenticated(explain(&ErrorKind::InvalidAlgorithm))),
        };
        match is_published {
            true => check_foreign_type(header.typ.as_deref(), &claims)?,
            false => check_own_type(&claims)?,
        }
        read(&claims)
    }

    /// Whether there is a secret to sign with.
    #[must_use]
    pub fn can_issue(&self) -> bool {
        self.secret.is_some()
    }

    /// A token for `subject` that ends after `lifetime`, signed with the secret; it belongs to no session.
    ///
    /// # Errors
    /// `Internal` without a secret.
    pub fn issue(&self, subject: &str, lifetime: Duration) -> Result<SecretString> {
        self.issue_in(None, subject, lifetime)
    }

    /// As [`Tokens::issue`], for a session: the token ends with it.
    ///
    /// # Errors
    /// `Internal` without a secret.
    pub fn issue_in(&self, session: Option<Uuid>, subject: &str, lifetime: Duration) -> Result<SecretString> {
        let secret = self.secret.as_ref().ok_or_else(|| Error::internal("no secret to sign tokens with"))?;
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "typ": TYPE,
            "iat": now,
            "exp": now.saturating_add(lifetime.as_secs()),
        });
        if let (Some(session), Some(claims)) = (session, claims.as_object_mut()) {
            claims.insert("sid".to_owned(), session.to_string().into());
        }
        let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map(Into::into).map_err(Error::internal)
    }

    fn decode(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Map<String, Value>> {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY_SECONDS;
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        let decoded = jsonwebtoken::decode(token, key, &rules);
        decoded.map(|data| data.claims).map_err(|error| match error.kind() {
            ErrorKind::Json(_) => Error::unauthenticated("The token's claims cannot be read"),
            kind => Error::unauthenticated(explain(kind)),
        })
    }
}

fn malformed(claim: &str) -> Error {
    Error::unauthenticated(format!("The token's {claim} is missing or of the wrong type"))
}

fn no_access_token() -> Error {
    Error::unauthenticated("The token is not an access token")
}

/// Our own tokens say what they are for.
fn check_own_type(claims: &Map<String, Value>) -> Result<()> {
    match claims.get("typ") {
        Some(Value::String(typ)) if typ == TYPE => Ok(()),
        Some(Value::String(typ)) if !typ.is_empty() => Err(no_access_token()),
        _ => Err(malformed("typ")),
    }
}

/// What others issue says in several ways what it is for, or not at all: in the header (`at+jwt`, RFC 9068), in the claim `typ`
/// (`Bearer` of Keycloak), in `token_use` (Cognito). Whatever says that it is something else is refused, and so is what only
/// other kinds of tokens have: the hashes of an ID token, the events of a logout token.
fn check_foreign_type(header: Option<&str>, claims: &Map<String, Value>) -> Result<()> {
    let is_one_of = |typ: &str, known: &[&str]| known.iter().any(|known| typ.eq_ignore_ascii_case(known));
    if header.is_some_and(|typ| !is_one_of(typ, &["JWT", "at+jwt", "application/at+jwt"])) {
        return Err(no_access_token());
    }
    for (claim, known) in [("typ", &["Bearer", "access", "at+jwt", "JWT"][..]), ("token_use", &["access"])] {
        match claims.get(claim) {
            None => {}
            Some(Value::String(typ)) if is_one_of(typ, known) => {}
            Some(Value::String(typ)) if !typ.is_empty() => return Err(no_access_token()),
            Some(_) => return Err(malformed(claim)),
        }
    }
    match ["at_hash", "c_hash", "events"].iter().any(|claim| claims.contains_key(*claim)) {
        true => Err(no_access_token()),
        false => Ok(()),
    }
}

/// The claims with their types. The library lets some through that we do not: `iss` as a list, `exp` and `nbf` as null.
fn read(claims: &Map<String, Value>) -> Result<Claims> {
    let text = |claim: &'static str| match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(malformed(claim)),
    };
    let seconds = |claim: &'static str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => {
            let whole = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64));
            let time = whole.filter(|seconds| *seconds >= 0).and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            time.map(Some).ok_or_else(|| malformed(claim))
        }
    };
    text("iss")?.ok_or_else(|| malformed("iss"))?;
    let leeway = chrono::Duration::seconds(LEEWAY_SECONDS as i64);
    if seconds("iat")?.is_some_and(|issued_at| issued_at > Utc::now() + leeway) {
        return Err(Error::unauthenticated("The token was issued in the future"));
    }
    seconds("nbf")?;
    Ok(Claims {
        subject: text("sub")?.ok_or_else(|| malformed("sub"))?,
        expires_at: seconds("exp")?.ok_or_else(|| malformed("exp"))?,
        session: text("sid")?,
        token_id: text("jti")?,
    })
}

/// What is wrong with a token, in words for its holder.
fn explain(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "The token has expired".to_owned(),
        ErrorKind::ImmatureSignature => "The token is not valid yet".to_owned(),
        ErrorKind::InvalidAudience => "The token is not for this audience".to_owned(),
        ErrorKind::InvalidIssuer => "The token is from another issuer".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            format!("The token's {claim} is missing or of the wrong type")
        }
        ErrorKind::InvalidSignature => "The token's signature does not fit".to_owned(),
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "The token's algorithm is not accepted".to_owned()
        }
        _ => "This is not a token".to_owned(),
    }
}
