//! Which web pages may call: those of this server, and those of the origins in the settings. One list for CORS, for streams of
//! events and for WebSockets, which know nothing of CORS.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{forwarded, identity};
use crate::config::HttpConfig;

/// Browsers of these origins, and of no others, may use the API.
pub(super) fn cors(config: &HttpConfig) -> CorsLayer {
    let origins: Vec<HeaderValue> = config.allowed_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            HeaderName::from_static(identity::SHARE_TOKEN),
            HeaderName::from_static(identity::SHARE_PASSWORD),
            HeaderName::from_static(identity::UNLOCK_TOKEN),
        ])
        .max_age(std::time::Duration::from_secs(3600))
}

/// Whether a request comes from a page that may not call. What is not a browser names no origin.
///
/// A page is the server's own if its origin has the name under which the request came: that of `Host`, or one that a trusted
/// proxy tells, because it has put another name into `Host`. `forwarded.rs` has taken out what others tell.
pub(super) fn is_foreign(config: &HttpConfig, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let Ok(origin) = origin.to_str() else { return true };
    let Some((name, default_port)) = authority(origin) else { return true };
    let is_own = |host: &str| is_same(&name, host, default_port);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_own) || forwarded::hosts(config, headers).iter().any(|host| is_own(host)) {
        return false;
    }
    !config.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// Name and port of an origin, and the port that is meant where none is given.
fn authority(origin: &str) -> Option<(String, &'static str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    let is_plain = !authority.is_empty() && !authority.contains(['/', '?', '#', '@']);
    is_plain.then(|| (authority.to_ascii_lowercase(), default_port))
}

/// Whether two authorities are the same, where none needs to name the port that is meant anyway.
fn is_same(one: &str, other: &str, default_port: &str) -> bool {
    let split = |authority: &str| {
        let (name, port) = match authority.rsplit_once(':') {
            // A colon within brackets belongs to the address.
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (authority, default_port),
        };
        (name.to_ascii_lowercase(), if port.is_empty() { default_port.to_owned() } else { port.to_owned() })
    };
    !other.is_empty() && split(one) == split(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn the_own_origin_is_known_however_it_is_written() {
        let sources = Sources::from_variables([("RAGBOARD_TRUSTED_PROXIES", "10.0.0.1")]);
        let config = Config::load(&sources).unwrap().http;
        let is_own = |origin: &str, host: &str, others: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers.insert(header::HOST, host.parse().unwrap());
            for (name, value) in others {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            !is_foreign(&config, &headers)
        };
        for (origin, host) in [
            ("https://ragboard.example", "ragboard.example"),
            ("https://ragboard.example", "ragboard.example:443"),
            ("https://ragboard.example", "RAGBOARD.example"),
            ("https://RAGBOARD.example:443", "ragboard.example"),
            ("http://ragboard.example", "ragboard.example:80"),
            ("http://[::1]", "[::1]:80"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_own(origin, host, &[]), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://ragboard.example", "ragboard.example:443"),
            ("https://ragboard.example:8443", "ragboard.example"),
            ("https://ragboard.example.evil.example", "ragboard.example"),
            ("https://evil.example/ragboard.example", "ragboard.example"),
            ("https://user@ragboard.example", "ragboard.example"),
            ("file://ragboard.example", "ragboard.example"),
            ("http://[::1]", "[::2]:80"),
            ("https://", ""),
        ] {
            assert!(!is_own(origin, host, &[]), "{origin} {host}");
        }
        for (name, value) in [
            ("x-forwarded-host", "ragboard.example"),
            ("x-forwarded-host", "Ragboard.example:443, inner:8080"),
            ("forwarded", "for=203.0.113.1;host=ragboard.example"),
            ("forwarded", "for=203.0.113.1;proto=https;host=\"ragboard.example:443\""),
        ] {
            assert!(is_own("https://ragboard.example", "inner:8080", &[(name, value)]), "{name}: {value}");
            assert!(!is_own("https://evil.example", "inner:8080", &[(name, value)]), "{name}: {value}");
        }
    }

    #[test]
    fn pages_of_this_server_and_of_the_list_may_call() {
        let sources = Sources::from_variables([("RAGBOARD_ALLOWED_ORIGINS", "https://app.example.org")]);
        let config = Config::load(&sources).unwrap().http;
        let is_foreign = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_foreign(&config, &headers)
        };
        for origin in [None, Some("http://127.0.0.1:8080"), Some("https://app.example.org")] {
            assert!(!is_foreign(origin), "{origin:?}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://127.0.0.1:8081",
            "http://app.example.org",
            "https://app.example.org.evil.example",
        ] {
            assert!(is_foreign(Some(origin)), "{origin}");
        }
    }
}
