//! Just enough of URLs to check settings: scheme, host and port of `http` and `https` addresses.
//!
//! What is fetched later is parsed and checked again, in full, by the module for outgoing HTTP.

/// The parts of an `http` or `https` URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebAddress<'a> {
    pub(super) secure: bool,
    /// As written, IPv6 addresses without their brackets.
    pub(super) host: &'a str,
    /// Of the scheme, if none is written.
    pub(super) port: u16,
    /// Path and query, with the leading slash; may be empty.
    pub(super) rest: &'a str,
}

impl<'a> WebAddress<'a> {
    /// `None` for other schemes, credentials in the URL, odd characters, and ports that are none.
    pub(super) fn parse(url: &'a str) -> Option<Self> {
        let (secure, rest) = match url.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let (host, port) = split_host(authority)?;
        Some(WebAddress { secure, host, port: port.unwrap_or(if secure { 443 } else { 80 }), rest })
    }
}

/// Host and optional port of `example.org`, `example.org:80`, `192.0.2.1:80`, `[::1]` or `[::1]:80`.
pub(super) fn split_host(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, port)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, port) = text.split_at_checked(end)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(plain) {
            return None;
        }
        (host, port)
    };
    match port.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port > 0)?))),
        None if port.is_empty() => Some((host, None)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let parts = |url| WebAddress::parse(url).map(|a| (a.secure, a.host, a.port, a.rest));
        assert_eq!(parts("https://example.org/keys?x=1"), Some((true, "example.org", 443, "/keys?x=1")));
        assert_eq!(parts("http://127.0.0.1:9000"), Some((false, "127.0.0.1", 9000, "")));
        assert_eq!(parts("http://[::1]:9000/"), Some((false, "::1", 9000, "/")));
        for url in [
            "ftp://x",
            "https://",
            "https://u:p@x/",
            "https://x:0",
            "https://x:99999",
            "https://a b",
            "x",
            "https://[::1",
        ] {
            assert_eq!(parts(url), None, "{url}");
        }
    }
}
