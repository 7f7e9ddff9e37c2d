//! The HTTP server.
//!
//! | key in `[http]`   | variable                                   | default                                    |
//! |-------------------|--------------------------------------------|--------------------------------------------|
//! | `address`         | `RAGBOARD_LISTEN`, else `RAGBOARD_ADDRESS` | `127.0.0.1:8080`                           |
//! | `metrics_address` | `RAGBOARD_METRICS_ADDRESS`                 | none: `/metrics` beside everything else    |
//! | `allowed_origins` | `RAGBOARD_ALLOWED_ORIGINS`                 | none                                       |
//! | `trusted_proxies` | `RAGBOARD_TRUSTED_PROXIES`                 | none                                       |
//! | `header_timeout_seconds` | `RAGBOARD_HEADER_TIMEOUT`           | 10                                         |
//! | `body_timeout_seconds`   | `RAGBOARD_BODY_TIMEOUT`             | 30                                         |
//! | `idle_timeout_seconds`   | `RAGBOARD_IDLE_TIMEOUT`             | 75                                         |
//! | `drain_seconds`   | `RAGBOARD_DRAIN`                           | 20                                         |
//! | `forwarded_header` | `RAGBOARD_FORWARDED_HEADER`               | `either`                                   |
//! | `introspection`   | `RAGBOARD_INTROSPECTION`                   | true in development and qa, false elsewhere |
//! | `graphiql`        | `RAGBOARD_GRAPHIQL`                        | true in development and qa, false elsewhere |

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    Environment, Network,
    reader::Reader,
    values::{List, ListenAddress, Parsed, Seconds, Switch, Word},
    web_address::WebAddress,
};

/// Which header of trusted proxies says where a request came from, and under which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// Whichever is there; where both are, they have to agree.
    Either,
    /// `X-Forwarded-For` and `X-Forwarded-Host`.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    const WORDS: &[(&'static str, ForwardedHeader)] = &[
        ("either", ForwardedHeader::Either),
        ("x-forwarded-for", ForwardedHeader::XForwardedFor),
        ("forwarded", ForwardedHeader::Forwarded),
    ];
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen; port 0 means any free one.
    pub address: SocketAddr,
    /// Where `/metrics` is served, if not beside everything else.
    pub metrics_address: Option<SocketAddr>,
    /// Origins of foreign pages that may call, as a browser writes them. One list for CORS, SSE and WebSocket.
    pub allowed_origins: Vec<String>,
    /// Who may say in `Forwarded` and `X-Forwarded-For` where a request came from.
    pub trusted_proxies: Vec<Network>,
    /// How long the head of a request may take to arrive, from its first byte or from the opening of the connection.
    pub header_timeout: Duration,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// How long a connection may be open without a request. Sockets and streams of events are not meant.
    pub idle_timeout: Duration,
    /// How long requests and jobs that run may take to end when the server stops.
    pub drain: Duration,
    /// Which of these headers counts.
    pub forwarded_header: ForwardedHeader,
    /// Whether the schema may be asked for.
    pub introspection: bool,
    /// Whether GraphiQL is served.
    pub graphiql: bool,
}

impl HttpConfig {
    pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Self {
        let origins = List(Parsed::new("an origin such as https://app.example.org, without a path", origin));
        let proxies = List(Parsed::new("an address or a block such as 10.0.0.0/8", Network::parse));
        let open = !environment.is_guarded();
        HttpConfig {
            address: reader.value(
                "http.address",
                &["RAGBOARD_LISTEN", "RAGBOARD_ADDRESS"],
                &ListenAddress,
                SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            ),
            metrics_address: reader.optional("http.metrics_address", &["RAGBOARD_METRICS_ADDRESS"], &ListenAddress),
            allowed_origins: reader.value("http.allowed_origins", &["RAGBOARD_ALLOWED_ORIGINS"], &origins, Vec::new()),
            trusted_proxies: reader.value("http.trusted_proxies", &["RAGBOARD_TRUSTED_PROXIES"], &proxies, Vec::new()),
            header_timeout: reader.value(
                "http.header_timeout_seconds",
                &["RAGBOARD_HEADER_TIMEOUT"],
                &Seconds(0.1..=3600.0),
                Duration::from_secs(10),
            ),
            body_timeout: reader.value(
                "http.body_timeout_seconds",
                &["RAGBOARD_BODY_TIMEOUT"],
                &Seconds(0.1..=3600.0),
                Duration::from_secs(30),
            ),
            idle_timeout: reader.value(
                "http.idle_timeout_seconds",
                &["RAGBOARD_IDLE_TIMEOUT"],
                &Seconds(0.1..=3600.0),
                Duration::from_secs(75),
            ),
            drain: reader.value(
                "http.drain_seconds",
                &["RAGBOARD_DRAIN"],
                &Seconds(0.0..=3600.0),
                Duration::from_secs(20),
            ),
            forwarded_header: reader.value(
                "http.forwarded_header",
                &["RAGBOARD_FORWARDED_HEADER"],
                &Word(ForwardedHeader::WORDS),
                ForwardedHeader::Either,
            ),
            introspection: reader.value("http.introspection", &["RAGBOARD_INTROSPECTION"], &Switch, open),
            graphiql: reader.value("http.graphiql", &["RAGBOARD_GRAPHIQL"], &Switch, open),
        }
    }
}

/// An origin in the one spelling browsers use: lower case, no default port, no slash at the end.
fn origin(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let address = WebAddress::parse(&lower).filter(|address| matches!(address.rest, "" | "/"))?;
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.to_owned() };
    let (scheme, default_port) = if address.secure { ("https", 443) } else { ("http", 80) };
    let port = if address.port == default_port { String::new() } else { format!(":{}", address.port) };
    Some(format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn origins_have_one_spelling() {
        let spelled = |text| origin(text).unwrap_or_default();
        assert_eq!(spelled("https://App.Example.org:443/"), "https://app.example.org");
        assert_eq!(spelled("http://localhost:5173"), "http://localhost:5173");
        assert_eq!(spelled("http://[::1]:80"), "http://[::1]");
        for text in ["*", "null", "app.example.org", "https://x/path", "https://x?y", "https://*.example.org"] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
