//! Which web pages may call: those of this server, and those of the origins in the settings. One list for CORS, for streams of
//! events and for WebSockets, which know nothing of CORS.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::identity;
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
pub(super) fn is_foreign(config: &HttpConfig, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let Ok(origin) = origin.to_str() else { return true };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_own = origin.split_once("://").is_some_and(|(_, authority)| own.is_some_and(|own| authority == own));
    !is_own && !config.allowed_origins.iter().any(|allowed| allowed == origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

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
