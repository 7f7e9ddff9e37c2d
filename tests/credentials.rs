//! Bearer tokens against real signatures, and published keys over real HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp, jwk::Jwk};
use ragboard::{
    access::{Claims, KeySet, KeySetTimes, Tokens},
    config::{Config, Sources},
    domain::{Code, Result},
    outbound::Outbound,
};
use rcgen::{KeyPair, PublicKeyData};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::patience::PATIENCE;

/// Made for these tests, and for nothing else.
const RSA_PRIVATE: &[u8] = include_bytes!("keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa.pub.pem");
const SECRET: &str = "kX9v!Qm2#tLr7@Wz4&Np8*Jc5^Hb1(Yd";

fn claims() -> Value {
    let now = get_current_timestamp();
    json!({ "iss": "ragboard", "aud": "ragboard", "sub": "user_01", "typ": "access", "iat": now, "exp": now + 60 })
}

/// The usual claims with one of them set, or taken out by null.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    let map = claims.as_object_mut().unwrap();
    if value.is_null() {
        map.remove(claim)
    } else {
        map.insert(claim.to_owned(), value)
    };
    claims
}

fn hs256(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A token out of its parts, with whatever header.
fn assembled(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

fn own() -> Tokens {
    Tokens::new("ragboard", "ragboard").with_secret(SECRET.to_owned().into())
}

fn message(result: Result<Claims>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
    error.message().to_owned()
}

#[tokio::test]
async fn an_issued_token_is_accepted() {
    let token = own().issue("user_01", Duration::from_secs(60)).unwrap();
    let claims = own().verify(token.expose_secret()).await.unwrap();
    assert_eq!((claims.subject.as_str(), claims.session, claims.token_id), ("user_01", None, None));
    let left = claims.expires_at.timestamp() - get_current_timestamp() as i64;
    assert!((55..=60).contains(&left), "{left}");
    assert!(!format!("{token:?}").contains(token.expose_secret()));
    assert_eq!(Tokens::new("ragboard", "ragboard").issue("x", Duration::ZERO).unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn claims_are_read() {
    let mut full = with("sid", json!("s1"));
    full["jti"] = json!("j1");
    full["nbf"] = json!(get_current_timestamp());
    full["aud"] = json!(["other", "ragboard"]);
    let claims = own().verify(&hs256(&full)).await.unwrap();
    assert_eq!((claims.session.as_deref(), claims.token_id.as_deref()), (Some("s1"), Some("j1")));
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    let now = get_current_timestamp();
    for (claim, time) in [("exp", now - 20), ("nbf", now + 20), ("iat", now + 20)] {
        assert!(own().verify(&hs256(&with(claim, json!(time)))).await.is_ok(), "{claim}");
    }
    let late = [
        ("exp", now - 40, "The token has expired"),
        ("nbf", now + 60, "The token is not valid yet"),
        ("iat", now + 60, "The token was issued in the future"),
    ];
    for (claim, time, expected) in late {
        assert_eq!(message(own().verify(&hs256(&with(claim, json!(time)))).await), expected);
    }
}

#[tokio::test]
async fn claims_must_be_there_and_of_their_type() {
    let text = [Value::Null, json!(7), json!(""), json!({}), json!(true)];
    let seconds = [Value::Null, json!("1999999999"), json!(-1), json!([1]), json!(true), json!(1e300)];
    let cases = [("iss", &text[..]), ("aud", &text), ("sub", &text), ("typ", &text), ("exp", &seconds)];
    for (claim, values) in cases {
        for value in values {
            let result = own().verify(&hs256(&with(claim, value.clone()))).await;
            assert!(result.is_err(), "{claim} {value}");
            let message = message(result);
            assert!(message.starts_with("The token"), "{claim} {value}: {message}");
        }
    }
    // Those that may be absent have a type all the same. A null is not an absence.
    for (claim, value) in [("nbf", json!("soon")), ("iat", json!("now")), ("sid", json!(1)), ("jti", json!(""))] {
        assert!(message(own().verify(&hs256(&with(claim, value))).await).contains(claim));
    }
    for claim in ["nbf", "iat", "sid", "jti", "exp", "iss", "typ"] {
        let mut claims = claims();
        claims[claim] = Value::Null;
        assert!(message(own().verify(&hs256(&claims)).await).contains(claim));
    }
    assert_eq!(message(own().verify(&hs256(&json!([1]))).await), "The token's claims cannot be read");
}

#[tokio::test]
async fn a_token_for_others_is_refused() {
    let cases = [
        ("aud", json!("elsewhere"), "The token is not for this audience"),
        ("aud", json!(["elsewhere"]), "The token is not for this audience"),
        ("iss", json!("elsewhere"), "The token is from another issuer"),
        ("iss", json!(["ragboard"]), "The token's iss is missing or of the wrong type"),
        ("typ", json!("refresh"), "The token is not an access token"),
    ];
    for (claim, value, expected) in cases {
        assert_eq!(message(own().verify(&hs256(&with(claim, value))).await), expected);
    }
}

#[tokio::test]
async fn the_key_decides_the_algorithm() {
    let rsa = EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap();
    let signed = |algorithm, key: &EncodingKey| jsonwebtoken::encode(&Header::new(algorithm), &claims(), key).unwrap();
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let good = hs256(&claims());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let payload = body.split('.').nth(1).unwrap();

    let algorithm = "The token's algorithm is not accepted";
    let not_a_token = "This is not a token";
    let misfit = "The token's signature does not fit";
    let cases = [
        ("HS512 of our secret", signed(Algorithm::HS512, &secret), algorithm),
        ("HS384 of our secret", signed(Algorithm::HS384, &secret), algorithm),
        ("RS256 although nobody publishes", signed(Algorithm::RS256, &rsa), algorithm),
        ("public key as secret", signed(Algorithm::HS256, &EncodingKey::from_secret(RSA_PUBLIC.as_bytes())), misfit),
        ("empty secret", signed(Algorithm::HS256, &EncodingKey::from_secret(b"")), misfit),
        ("alg none", assembled(&json!({ "alg": "none" }), &claims(), ""), not_a_token),
        ("alg None", assembled(&json!({ "alg": "None", "typ": "JWT" }), &claims(), signature), not_a_token),
        ("alg missing", assembled(&json!({ "typ": "JWT" }), &claims(), signature), not_a_token),
        ("alg a list", assembled(&json!({ "alg": ["HS256"] }), &claims(), signature), not_a_token),
        ("no signature", format!("{body}."), misfit),
        (
            "signature of another",
            format!("{body}.{}", hs256(&with("sub", json!("x"))).rsplit_once('.').unwrap().1),
            misfit,
        ),
        ("two parts", body.to_owned(), not_a_token),
        ("four parts", format!("{good}.x"), not_a_token),
        (
            "header swapped",
            format!("{}.{payload}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#)),
            algorithm,
        ),
        ("words", "not a token".to_owned(), not_a_token),
        ("nothing", String::new(), not_a_token),
    ];
    for (what, token, expected) in cases {
        assert_eq!(message(own().verify(&token).await), expected, "{what}");
    }
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["exp".to_owned()]);
    let token = jsonwebtoken::encode(&critical, &claims(), &secret).unwrap();
    assert_eq!(message(own().verify(&token).await), "The token demands extensions that are not supported");
    let keyless = Tokens::new("ragboard", "ragboard");
    assert_eq!(message(keyless.verify(&good).await), algorithm);
}

#[tokio::test]
async fn a_long_token_is_refused_unread() {
    let padded = |bytes: usize| hs256(&with("pad", json!("x".repeat(bytes))));
    assert!(own().verify(&padded(4000)).await.is_ok());
    let long = padded(6750);
    assert!((9000..9400).contains(&long.len()), "{}", long.len());
    assert_eq!(message(own().verify(&long).await), "The token is too long");
}

/// A server that publishes keys, and its clients' way to them.
struct Publisher {
    address: SocketAddr,
    published: Arc<Published>,
    server: JoinHandle<()>,
}

struct Published {
    keys: Mutex<Value>,
    fetches: AtomicUsize,
    /// Each answer takes one permit.
    answers: Semaphore,
}

impl Publisher {
    async fn start(keys: impl Into<Vec<Value>>) -> Self {
        let published = Arc::new(Published {
            keys: Mutex::new(Value::Array(keys.into())),
            fetches: AtomicUsize::new(0),
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let app = Router::new().route("/keys", get(answer)).with_state(Arc::clone(&published));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Publisher { address, published, server }
    }

    fn publish(&self, keys: impl Into<Vec<Value>>) {
        *self.published.keys.lock().unwrap() = Value::Array(keys.into());
    }

    fn fetches(&self) -> usize {
        self.published.fetches.load(Ordering::SeqCst)
    }

    /// What the gateway builds: keys through the module for outgoing HTTP, which lets this address through by name.
    fn key_set(&self, times: KeySetTimes) -> Arc<KeySet> {
        let sources = Sources::from_variables([("RAGBOARD_OUTBOUND_ALLOW", self.address.to_string())]);
        let outbound = Outbound::new(&Config::load(&sources).unwrap().outbound);
        let url = format!("http://{}/keys", self.address);
        KeySet::new(Arc::new(outbound.document(url, 64 * 1024, PATIENCE)), times).into()
    }

    fn tokens(&self, times: KeySetTimes) -> Tokens {
        Tokens::new("ragboard", "ragboard").with_published_keys(self.key_set(times))
    }

    async fn go_down(&self) {
        self.server.abort();
        while !self.server.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

async fn answer(State(published): State<Arc<Published>>) -> impl IntoResponse {
    published.fetches.fetch_add(1, Ordering::SeqCst);
    published.answers.acquire().await.unwrap().forget();
    let keys = published.keys.lock().unwrap().clone();
    (StatusCode::OK, [("cache-control", "max-age=0"), ("connection", "close")], json!({ "keys": keys }).to_string())
}

/// A key that signs, with what is published of it.
struct Signer {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
    published: Value,
}

impl Signer {
    fn ec(id: &str) -> Self {
        let pair = KeyPair::generate().unwrap();
        // Behind a leading 4, the two coordinates.
        let (x, y) = pair.der_bytes()[1..].split_at(32);
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let published = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": encode(x), "y": encode(y) });
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        Signer { id: id.to_owned(), algorithm: Algorithm::ES256, key, published }
    }

    fn rsa(id: &str) -> Self {
        let key = EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap();
        let mut published = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
        published["kid"] = json!(id);
        Signer { id: id.to_owned(), algorithm: Algorithm::RS256, key, published }
    }

    fn token(&self) -> String {
        self.token_with_id(Some(&self.id))
    }

    /// A token of another issuer: `typ` of its header, and claims that are set, or taken out by null.
    fn foreign(&self, typ: Option<&str>, changes: &[(&str, Value)]) -> String {
        let mut header = Header::new(self.algorithm);
        (header.kid, header.typ) = (Some(self.id.clone()), typ.map(str::to_owned));
        let mut claims = with("typ", Value::Null);
        for (claim, value) in changes {
            claims[*claim] = value.clone();
        }
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    fn token_with_id(&self, id: Option<&str>) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = id.map(str::to_owned);
        jsonwebtoken::encode(&header, &claims(), &self.key).unwrap()
    }
}

/// Every use asks again.
const EAGER: KeySetTimes = KeySetTimes {
    default_age: Duration::ZERO,
    min_age: Duration::ZERO,
    max_age: Duration::ZERO,
    between_fetches: Duration::ZERO,
    outage: Duration::from_secs(3600),
};

#[tokio::test]
async fn published_keys_verify_and_are_kept() {
    let (ec, rsa) = (Signer::ec("ec"), Signer::rsa("rsa"));
    let publisher = Publisher::start([ec.published.clone(), rsa.published.clone()]).await;
    let tokens = publisher.tokens(KeySetTimes::default());
    for _ in 0..20 {
        assert_eq!(tokens.verify(&ec.token()).await.unwrap().subject, "user_01");
    }
    assert!(tokens.verify(&rsa.token()).await.is_ok());
    assert!(tokens.verify(&rsa.token_with_id(None)).await.is_ok());
    // The publisher says max-age=0, and the lower bound holds.
    assert_eq!(publisher.fetches(), 1);
}

#[tokio::test]
async fn many_first_tokens_cost_one_fetch() {
    let signer = Signer::ec("a");
    let publisher = Publisher::start([signer.published.clone()]).await;
    let tokens = publisher.tokens(KeySetTimes::default());
    let token = signer.token();
    let results = join_all((0..50).map(|_| tokens.verify(&token))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(publisher.fetches(), 1);
}

#[tokio::test]
async fn a_published_key_is_for_one_algorithm() {
    let (ec, rsa) = (Signer::ec("ec"), Signer::rsa("rsa"));
    let symmetric = json!({ "kty": "oct", "alg": "HS256", "kid": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(SECRET) });
    let publisher = Publisher::start([ec.published.clone(), rsa.published.clone(), symmetric]).await;
    let signed = |algorithm, kid: &str, key: &EncodingKey| {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, &claims(), key).unwrap()
    };
    let hmac = |key: &[u8]| EncodingKey::from_secret(key);
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(rsa.published["n"].as_str().unwrap()).unwrap();
    let algorithm = "The token's algorithm is not accepted";
    let unknown = "The token is signed with an unknown key";
    let misfit = "The token's signature does not fit";
    let cases = [
        ("PS256 of an RS256 key", signed(Algorithm::PS256, "rsa", &rsa.key), algorithm, algorithm),
        ("RS512 of an RS256 key", signed(Algorithm::RS512, "rsa", &rsa.key), algorithm, algorithm),
        ("RS256 under the id of an EC key", rsa.token_with_id(Some("ec")), unknown, unknown),
        ("ES256 under the id of an RSA key", ec.token_with_id(Some("rsa")), unknown, unknown),
        ("another EC key under this id", Signer::ec("ec").token(), misfit, misfit),
        ("HMAC of the public PEM", signed(Algorithm::HS256, "rsa", &hmac(RSA_PUBLIC.as_bytes())), algorithm, misfit),
        ("HMAC of the modulus", signed(Algorithm::HS256, "rsa", &hmac(&modulus)), algorithm, misfit),
        ("a published symmetric key", signed(Algorithm::HS256, "oct", &hmac(SECRET.as_bytes())), algorithm, misfit),
    ];
    let published_only = publisher.tokens(EAGER);
    let both = publisher.tokens(EAGER).with_secret(SecretString::from("9f2c1e4b7a5d8036b1f4c7e2d9a05386"));
    for (what, token, expected, expected_of_both) in cases {
        assert_eq!(message(published_only.verify(&token).await), expected, "{what}");
        assert_eq!(message(both.verify(&token).await), expected_of_both, "{what}, with a secret too");
    }
}

#[tokio::test]
async fn keys_rotate() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let publisher = Publisher::start([old.published.clone()]).await;
    let long_kept = KeySetTimes { between_fetches: Duration::ZERO, ..KeySetTimes::default() };
    let (keeping, eager) = (publisher.tokens(long_kept), publisher.tokens(EAGER));
    for tokens in [&keeping, &eager] {
        assert!(tokens.verify(&old.token()).await.is_ok());
        assert!(tokens.verify(&new.token()).await.is_err());
    }
    publisher.publish([old.published.clone(), new.published.clone()]);
    for tokens in [&keeping, &eager] {
        assert!(tokens.verify(&new.token()).await.is_ok(), "a new id has the set fetched again");
        assert!(tokens.verify(&old.token()).await.is_ok());
    }
    publisher.publish([new.published.clone()]);
    assert!(eager.verify(&new.token()).await.is_ok());
    assert!(message(eager.verify(&old.token()).await).contains("unknown key"));
}

#[tokio::test]
async fn a_flood_of_unknown_ids_costs_one_fetch_per_window() {
    let signer = Signer::ec("a");
    let publisher = Publisher::start([signer.published.clone()]).await;
    let tokens = publisher.tokens(KeySetTimes::default());
    assert!(tokens.verify(&signer.token()).await.is_ok());
    let strange: Vec<_> = (0..100).map(|id| signer.token_with_id(Some(&format!("unknown-{id}")))).collect();
    let results = join_all(strange.iter().map(|token| tokens.verify(token))).await;
    assert!(results.into_iter().all(|result| message(result).contains("unknown key")));
    for token in &strange[..5] {
        assert!(tokens.verify(token).await.is_err());
    }
    assert!(tokens.verify(&signer.token()).await.is_ok(), "and the known key is not held up");
    assert_eq!(publisher.fetches(), 1);

    // A window that has passed lets one fetch through, and no more.
    let window = Duration::from_millis(300);
    let tokens = publisher.tokens(KeySetTimes { between_fetches: window, ..KeySetTimes::default() });
    let start = Instant::now();
    let fetched_again = async {
        while publisher.fetches() < 3 {
            assert!(tokens.verify(&strange[0]).await.is_err());
        }
    };
    timeout(PATIENCE, fetched_again).await.unwrap();
    assert!(start.elapsed() >= window);
}

#[tokio::test]
async fn known_keys_outlive_their_publisher_for_a_while() {
    let signer = Signer::ec("a");
    let publisher = Publisher::start([signer.published.clone()]).await;
    let patient = publisher.tokens(EAGER);
    let impatient = publisher.tokens(KeySetTimes { outage: Duration::ZERO, ..EAGER });
    let late = publisher.tokens(EAGER);
    assert!(patient.verify(&signer.token()).await.is_ok());
    let _ = impatient.verify(&signer.token()).await;
    publisher.go_down().await;
    assert!(patient.verify(&signer.token()).await.is_ok());
    assert!(message(patient.verify(&signer.token_with_id(Some("b"))).await).contains("unknown key"));
    for tokens in [impatient, late] {
        assert_eq!(tokens.verify(&signer.token()).await.unwrap_err().code(), Code::Overloaded);
    }
}

#[tokio::test]
async fn a_broken_set_does_not_replace_a_good_one() {
    let signer = Signer::ec("a");
    let publisher = Publisher::start([signer.published.clone()]).await;
    let tokens = publisher.tokens(EAGER);
    assert!(tokens.verify(&signer.token()).await.is_ok());
    *publisher.published.keys.lock().unwrap() = json!("maintenance");
    assert!(tokens.verify(&signer.token()).await.is_ok());
    publisher.publish(vec![json!({ "kty": "EC", "pad": "x".repeat(4096) }); 20]);
    assert!(tokens.verify(&signer.token()).await.is_ok(), "80 kB are not a set");
    publisher.publish([]);
    assert!(tokens.verify(&signer.token()).await.is_err(), "an empty set takes every key back");
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_cost_the_others_their_keys() {
    let signer = Signer::ec("a");
    let publisher = Publisher::start([signer.published.clone()]).await;
    publisher.published.answers.forget_permits(Semaphore::MAX_PERMITS);
    let tokens = Arc::new(publisher.tokens(KeySetTimes::default()));
    let token = signer.token();
    let first = tokio::spawn({
        let (tokens, token) = (Arc::clone(&tokens), token.clone());
        async move { tokens.verify(&token).await }
    });
    let asked = async {
        while publisher.fetches() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, asked).await.unwrap();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    publisher.published.answers.add_permits(1);
    assert!(tokens.verify(&token).await.is_ok());
    assert_eq!(publisher.fetches(), 1);
}

#[tokio::test]
async fn tokens_of_real_issuers_are_accepted_and_other_kinds_of_tokens_are_not() {
    let signer = Signer::ec("a");
    let publisher = Publisher::start([signer.published.clone()]).await;
    let tokens = publisher.tokens(KeySetTimes::default()).with_secret(SECRET.to_owned().into());
    let typ = |typ: &str| vec![("typ", json!(typ))];
    for (header, changes) in [
        (Some("JWT"), vec![]),
        (None, vec![]),
        (Some("at+jwt"), vec![]),
        (Some("application/AT+JWT"), vec![]),
        (Some("JWT"), typ("Bearer")),
        (Some("JWT"), typ("access")),
        (Some("jwt"), typ("at+jwt")),
        (Some("JWT"), vec![("token_use", json!("access")), ("nonce", json!("n")), ("azp", json!("app"))]),
    ] {
        let token = signer.foreign(header, &changes);
        assert!(tokens.verify(&token).await.is_ok(), "{header:?} {changes:?}");
    }
    let no_access_token = "The token is not an access token";
    for (header, changes, expected) in [
        (Some("JWT"), typ("Refresh"), no_access_token),
        (Some("JWT"), typ("ID"), no_access_token),
        (Some("JWT"), typ("Offline"), no_access_token),
        (Some("at+jwt"), typ("Logout"), no_access_token),
        (Some("JWT"), typ(""), "The token's typ is missing or of the wrong type"),
        (Some("JWT"), vec![("typ", json!(1))], "The token's typ is missing or of the wrong type"),
        (Some("JWT"), vec![("typ", Value::Null)], "The token's typ is missing or of the wrong type"),
        (Some("logout+jwt"), vec![], no_access_token),
        (Some("dpop+jwt"), typ("Bearer"), no_access_token),
        (Some("JWT"), vec![("token_use", json!("id"))], no_access_token),
        (Some("JWT"), vec![("at_hash", json!("x"))], no_access_token),
        (Some("JWT"), vec![("events", json!({}))], no_access_token),
    ] {
        let token = signer.foreign(header, &changes);
        assert_eq!(message(tokens.verify(&token).await), expected, "{header:?} {changes:?}");
    }
    // Ours go on to say what they are for.
    for claims in [with("typ", Value::Null), with("typ", json!("Bearer"))] {
        assert!(tokens.verify(&hs256(&claims)).await.is_err(), "{claims}");
    }
    assert!(tokens.verify(&hs256(&claims())).await.is_ok());
}
