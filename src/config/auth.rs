//! Who signs the tokens that are accepted.
//!
//! | key in `[auth]` | variable                | default                                           |
//! |-----------------|-------------------------|---------------------------------------------------|
//! | `jwt_secret`    | `RAGBOARD_JWT_SECRET`   | none: one is generated and kept in the data folder |
//! | `jwt_issuer`    | `RAGBOARD_JWT_ISSUER`   | `ragboard`                                        |
//! | `jwt_audience`  | `RAGBOARD_JWT_AUDIENCE` | `ragboard`                                        |
//! | `jwks_url`      | `RAGBOARD_JWKS_URL`     | none                                              |
//!
//! A secret that is given has at least 32 bytes that do not repeat, in every environment. Outside development it must not be out of a
//! manual either. Preprod and production generate none: they want one, or `jwks_url`.

use std::collections::HashSet;

use secrecy::{ExposeSecret, SecretString};

use super::{
    Environment, OutboundConfig,
    reader::Reader,
    values::{Parsed, Secret, Text},
    web_address::WebAddress,
};

const SECRET_KEY: &str = "auth.jwt_secret (RAGBOARD_JWT_SECRET)";
/// Bytes of a signing secret, without white space around it: as many as an HS256 signature has.
pub const MIN_SECRET_BYTES: usize = 32;

/// What manuals, templates and people in a hurry write where a secret belongs.
const PLACEHOLDERS: [&str; 17] = [
    "change",
    "default",
    "development",
    "dev-secret",
    "dev_secret",
    "example",
    "insecure",
    "jwt-secret",
    "jwt_secret",
    "my-secret",
    "my_secret",
    "password",
    "placeholder",
    "replace",
    "supersecret",
    "your-",
    "your_",
];

/// Who signs the tokens that are accepted.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Key of HS256 tokens. `None` without `jwks_url` means: generate one, keep it in the data folder.
    pub jwt_secret: Option<SecretString>,
    /// Required `iss`.
    pub jwt_issuer: String,
    /// Required `aud`.
    pub jwt_audience: String,
    /// Where the public keys of RS256 and ES256 tokens are published.
    pub jwks_url: Option<String>,
}

impl AuthConfig {
    pub(super) fn read(reader: &mut Reader<'_>, environment: Environment, outbound: &OutboundConfig) -> Self {
        let url =
            Parsed::new("an https URL without credentials", |text| WebAddress::parse(text).map(|_| text.to_owned()));
        let named = "ragboard";
        let config = AuthConfig {
            jwt_secret: reader.optional("auth.jwt_secret", &["RAGBOARD_JWT_SECRET"], &Secret),
            jwt_issuer: reader.value("auth.jwt_issuer", &["RAGBOARD_JWT_ISSUER"], &Text, named.to_owned()),
            jwt_audience: reader.value("auth.jwt_audience", &["RAGBOARD_JWT_AUDIENCE"], &Text, named.to_owned()),
            jwks_url: reader.optional("auth.jwks_url", &["RAGBOARD_JWKS_URL"], &url),
        };
        let address = config.jwks_url.as_deref().and_then(WebAddress::parse);
        if address.is_some_and(|address| !address.secure && !outbound.names(address.host, address.port)) {
            let message = "must be https, unless RAGBOARD_OUTBOUND_ALLOW names the host and port";
            reader.problem("auth.jwks_url (RAGBOARD_JWKS_URL)", message);
        }
        match &config.jwt_secret {
            Some(secret) => {
                if let Some(weakness) = weakness(secret.expose_secret(), environment) {
                    reader.problem(SECRET_KEY, format!("{weakness}; take the output of: openssl rand -base64 48"));
                }
            }
            None if environment.is_guarded() && config.jwks_url.is_none() => {
                let message = format!("or auth.jwks_url (RAGBOARD_JWKS_URL) must be set in {environment}");
                reader.problem(SECRET_KEY, message);
            }
            None => {}
        }
        config
    }
}

/// Whether a text is too short for a secret.
pub fn is_short(secret: &str) -> bool {
    secret.trim().len() < MIN_SECRET_BYTES
}

/// Why a secret is none. A developer may take one out of a manual, but nowhere one that can be tried out.
fn weakness(secret: &str, environment: Environment) -> Option<String> {
    let lower = secret.to_ascii_lowercase();
    if is_short(secret) {
        Some(format!("has fewer than {MIN_SECRET_BYTES} bytes"))
    } else if environment != Environment::Development && PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        Some("is a placeholder".to_owned())
    } else if secret.bytes().collect::<HashSet<_>>().len() < 8 {
        Some("repeats a few characters".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, weakness};

    #[test]
    fn weak_secrets() {
        for secret in [
            "",
            "short",
            "                                        ",
            "too short, whatever its end:            ",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabcabcabcabcabcabc",
        ] {
            for environment in [Environment::Development, Environment::Qa, Environment::Production] {
                assert!(weakness(secret, environment).is_some(), "{secret:?} in {environment}");
            }
        }
        for secret in [
            "change-me-change-me-change-me-change-me",
            "your-256-bit-secret-your-256-bit-secret",
            "ChangeThisToSomethingLongInProduction",
        ] {
            assert!(weakness(secret, Environment::Qa).is_some(), "{secret}");
            assert_eq!(weakness(secret, Environment::Development), None, "{secret}");
        }
        for secret in ["9f2c1e4b7a5d8036b1f4c7e2d9a05386", "kX9v!Qm2#tLr7@Wz4&Np8*Jc5^Hb1(Yd"] {
            assert_eq!(weakness(secret, Environment::Production), None, "{secret}");
        }
    }
}
