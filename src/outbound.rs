//! Outgoing HTTP, all of it: bounded, without cookies or proxies, and only to places that are anybody's business.
//!
//! Whoever can make this program fetch a URL must not reach what only this machine reaches. So an address must be global,
//! or be named by the settings (`outbound.allow`): literals are checked before the request and at every redirect, names
//! when they are resolved for the very connection that is then made. The scheme is https, or http to a named host.
//! Bodies are asked for and accepted without compression, so that their bound is the bound of what they hold.

mod address;
mod post;

use std::{
    error::Error as StdError,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{
    Client, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CACHE_CONTROL, CONTENT_ENCODING},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::{
    config::OutboundConfig,
    domain::{Code, Error, Fetch, Fetched, Result},
};

pub use self::post::Endpoint;

const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The program's way out. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    rules: Arc<OutboundConfig>,
    /// Follows redirects, each of them checked.
    client: OnceLock<Result<Client>>,
    /// Follows none: what is sent, and its key, goes to the place that the settings name and to no other.
    sender: OnceLock<Result<Client>>,
}

impl Outbound {
    /// Nothing happens before the first request: a machine without trusted authorities can start.
    #[must_use]
    pub fn new(config: &OutboundConfig) -> Self {
        Outbound(Arc::new(Inner { rules: Arc::new(config.clone()), client: OnceLock::new(), sender: OnceLock::new() }))
    }

    /// Fetches a document of at most `max_bytes`, within `timeout` from resolving to the last byte.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that may not be fetched or a document that is too large, `Timeout`, and `Overloaded` for
    /// everything that may work the next time: no answer, or one that is not 200. The cause says more, for the log.
    pub async fn get(&self, url: &str, max_bytes: usize, timeout: Duration) -> Result<Fetched> {
        tokio::time::timeout(timeout, self.fetch(url, max_bytes))
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::Timeout, "The address did not answer in time")))
    }

    /// A document at a fixed place, as a port for those who need only that.
    #[must_use]
    pub fn document(&self, url: impl Into<String>, max_bytes: usize, timeout: Duration) -> Document {
        Document { outbound: self.clone(), url: url.into(), max_bytes, timeout }
    }

    fn checked(&self, url: &str) -> Result<Url> {
        let url = Url::parse(url).map_err(|cause| Error::caused(Code::InvalidArgument, "This is not a URL", cause))?;
        check(&self.0.rules, &url).map_err(refused)?;
        Ok(url)
    }

    async fn fetch(&self, url: &str, max_bytes: usize) -> Result<Fetched> {
        let url = self.checked(url)?;
        let client = || client(&self.0.rules, checked_redirects(&self.0.rules));
        let client = self.0.client.get_or_init(client).as_ref().map_err(Clone::clone)?;
        let response = client.get(url).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(unavailable(format!("status {}", response.status())));
        }
        uncompressed(&response)?;
        let max_age = max_age(&response);
        let body = body(response, max_bytes).await?;
        Ok(Fetched { body, max_age })
    }
}

/// See [`Outbound::document`].
pub struct Document {
    outbound: Outbound,
    url: String,
    max_bytes: usize,
    timeout: Duration,
}

#[async_trait::async_trait]
impl Fetch for Document {
    async fn fetch(&self) -> Result<Fetched> {
        self.outbound.get(&self.url, self.max_bytes, self.timeout).await
    }
}

/// Why an address is not fetched. It travels through the HTTP client as a cause and is recognised on the way back.
#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Refused {}

/// What can be said about a URL before its host is resolved.
fn check(rules: &OutboundConfig, url: &Url) -> Result<(), Refused> {
    let host = url.host_str().ok_or(Refused("no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().ok_or(Refused("no port"))?;
    let named = rules.names(host, port);
    match url.scheme() {
        "https" => {}
        "http" if named => {}
        "http" => return Err(Refused("http to a host that is not on the list")),
        _ => return Err(Refused("neither http nor https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused("credentials in the URL"));
    }
    match host.parse::<IpAddr>() {
        Ok(address) if !named && !address::is_global(address) => Err(Refused("an address that is not global")),
        // The resolver lets a listed name through at whatever address, and does not learn the port.
        Err(_) if !named && rules.knows(host) => Err(Refused("a listed name at another port")),
        _ => Ok(()),
    }
}

/// Resolves names, and drops the addresses that may not be reached under them.
struct Resolver(Arc<OutboundConfig>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.0);
        Box::pin(async move {
            let name = name.as_str();
            let named = rules.knows(name);
            let may = |address: &SocketAddr| named || address::is_global(address.ip()) || rules.covers(address.ip());
            let found: Vec<_> = tokio::net::lookup_host((name, 0)).await?.filter(may).collect();
            if found.is_empty() {
                return Err(Refused("a name without a global address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Follows a few redirects, each to a place that may be fetched from.
fn checked_redirects(rules: &Arc<OutboundConfig>) -> redirect::Policy {
    let rules = Arc::clone(rules);
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error(Refused("too many redirects"));
        }
        match check(&rules, attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    })
}

fn client(rules: &Arc<OutboundConfig>, redirects: redirect::Policy) -> Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        tracing::warn!("this machine has no trusted certificate authorities; outgoing https will fail");
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Resolver(Arc::clone(rules)))
        .redirect(redirects)
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("ragboard/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(Error::internal)
}

async fn body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>> {
    let too_large = || Error::invalid(format!("The document is larger than {max_bytes} bytes"));
    if response.content_length().is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn uncompressed(response: &Response) -> Result<()> {
    let encodings = response.headers().get_all(CONTENT_ENCODING);
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(unavailable("compressed although that was not asked for"));
    }
    Ok(())
}

/// How long the answer may be kept by its `Cache-Control`.
fn max_age(response: &Response) -> Option<Duration> {
    let mut age = None;
    for header in response.headers().get_all(CACHE_CONTROL) {
        for directive in header.to_str().unwrap_or_default().split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-store" || directive == "no-cache" {
                return Some(Duration::ZERO);
            }
            if let Some(seconds) = directive.strip_prefix("max-age=").and_then(|seconds| seconds.parse().ok()) {
                age = Some(Duration::from_secs(seconds));
            }
        }
    }
    age
}

fn refused(cause: Refused) -> Error {
    Error::caused(Code::InvalidArgument, "This address may not be fetched", cause)
}

fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::caused(Code::Overloaded, "The address gave no usable answer", cause)
}

fn failed(error: reqwest::Error) -> Error {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(Refused(why)) = cause.downcast_ref() {
            return refused(Refused(why));
        }
        causes.push(cause.to_string());
        next = cause.source();
    }
    // The client's own text is left out: it holds the URL, and a URL may hold a key.
    unavailable(causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn rules(allow: &str) -> OutboundConfig {
        Config::load(&Sources::from_variables([("RAGBOARD_OUTBOUND_ALLOW", allow)])).unwrap().outbound
    }

    #[test]
    fn urls_are_checked_before_anything_is_sent() {
        let rules = rules("127.0.0.1:8080, minio.internal:9000, [::1]:81, 10.0.0.0/8");
        let cases = [
            ("https://example.org/", true),
            ("https://example.org:8443/", true),
            ("https://8.8.8.8/", true),
            ("http://example.org/", false),
            ("http://127.0.0.1:8080/keys", true),
            ("http://127.0.0.1:8081/", false),
            ("https://127.0.0.1/", false),
            ("https://127.1/", false),
            ("https://0x7f000001/", false),
            ("https://2130706433/", false),
            ("https://0177.0.0.1/", false),
            ("https://127.0.0.1./", false),
            ("https://169.254.169.254/latest/meta-data/", false),
            ("http://[::1]:81/", true),
            ("https://[::1]/", false),
            ("https://[::ffff:127.0.0.1]/", false),
            ("https://[64:ff9b::7f00:1]/", false),
            ("https://10.1.2.3:1234/", true),
            ("http://10.1.2.3/", true),
            ("http://minio.internal:9000/", true),
            ("http://MINIO.internal:9000/", true),
            ("https://minio.internal:22/", false),
            ("https://user@example.org/", false),
            ("https://user:pass@example.org/", false),
            ("ftp://example.org/", false),
            ("file:///etc/passwd", false),
            ("unix:/run/docker.sock", false),
            ("data:text/plain,x", false),
        ];
        for (url, allowed) in cases {
            assert_eq!(check(&rules, &Url::parse(url).unwrap()).is_ok(), allowed, "{url}");
        }
    }

    #[tokio::test]
    async fn names_are_checked_when_they_resolve() {
        let resolve = |allow| async move {
            let resolver = Resolver(Arc::new(rules(allow)));
            resolver.resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        assert!(resolve("").await.err().unwrap().is::<Refused>());
        assert!(resolve("127.0.0.1:80").await.err().unwrap().is::<Refused>());
        assert!(resolve("localhost:80").await.unwrap() > 0);
        assert!(resolve("127.0.0.0/8, ::1").await.unwrap() > 0);
    }
}
