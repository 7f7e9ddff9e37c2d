//! What proxies say of a request: whose it is (`X-Forwarded-For`, `Forwarded`), and under which name it was asked for
//! (`X-Forwarded-Host`, `Forwarded`). Only what trusted proxies vouch for counts.
//!
//! Lists are read from the right, because each proxy adds at the right and what is left of its entry came from outside. The
//! first address that is no trusted proxy is the client. An entry that cannot be read ends the search at the last hop that
//! is known. Who the viewer is, and which origins may call, is not decided here.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue, Request, header};

use crate::config::{ForwardedHeader, HttpConfig, Network};

const FORWARDED: &str = "forwarded";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";
/// Entries of all lines together that are looked at; empty ones count.
const MAX_ENTRIES: usize = 32;
/// Longer entries are not read.
const MAX_ENTRY_BYTES: usize = 512;

/// Brings a request into the form that the handlers count on. Over HTTP/2 the name that was asked for is no header of its own,
/// so it becomes `Host`. What is said of a request by somebody who is no trusted proxy is taken out.
pub(super) fn settle<B>(config: &HttpConfig, peer: Option<SocketAddr>, mut request: Request<B>) -> Request<B> {
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        if let Ok(host) = HeaderValue::try_from(host) {
            request.headers_mut().insert(header::HOST, host);
        }
    }
    if !peer.is_some_and(|peer| is_trusted(&config.trusted_proxies, peer.ip())) {
        for name in [FORWARDED, FORWARDED_FOR, FORWARDED_HOST] {
            request.headers_mut().remove(name);
        }
    }
    request
}

/// Whether this is one of the trusted proxies. On a socket of IPv6 an IPv4 address looks like one of IPv6.
pub(super) fn is_trusted(proxies: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(address))
}

/// The address a request comes from. Where both headers are there and `http.forwarded_header` does not say which counts, they
/// have to name the same client; else it is the proxy, because one of them may be the client's own invention.
pub(super) fn client(config: &HttpConfig, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
    let peer = peer.ip().to_canonical();
    let by_list = || walk(config, peer, entries(headers, FORWARDED_FOR, plain).map(|entry| entry.and_then(address)));
    let by_elements =
        || walk(config, peer, entries(headers, FORWARDED, quoted).map(|entry| address(&element(entry?, "for")?)));
    match config.forwarded_header {
        ForwardedHeader::XForwardedFor => by_list(),
        ForwardedHeader::Forwarded => by_elements(),
        ForwardedHeader::Either => match (headers.contains_key(FORWARDED_FOR), headers.contains_key(FORWARDED)) {
            (_, false) => by_list(),
            (false, true) => by_elements(),
            (true, true) => Some(by_list()).filter(|client| *client == by_elements()).unwrap_or(peer),
        },
    }
}

/// From the peer along the hops that trusted proxies name.
fn walk(config: &HttpConfig, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut client = peer;
    let mut hops = hops.take(MAX_ENTRIES);
    while is_trusted(&config.trusted_proxies, client) {
        match hops.next().flatten() {
            Some(hop) => client = hop,
            None => break,
        }
    }
    client
}

/// The names under which a request was asked for, as trusted proxies tell them; [`settle`] has taken out what others tell.
pub(super) fn hosts(config: &HttpConfig, headers: &HeaderMap) -> Vec<String> {
    let by_list = entries(headers, FORWARDED_HOST, plain).map(|entry| Some(entry?.to_owned()));
    let by_elements = entries(headers, FORWARDED, quoted).map(|entry| element(entry?, "host"));
    let (reads_list, reads_elements) = match config.forwarded_header {
        ForwardedHeader::XForwardedFor => (MAX_ENTRIES, 0),
        ForwardedHeader::Forwarded => (0, MAX_ENTRIES),
        ForwardedHeader::Either => (MAX_ENTRIES, MAX_ENTRIES),
    };
    by_list.take(reads_list).chain(by_elements.take(reads_elements)).flatten().collect()
}

/// The entries of all lines of a header from the right to the left; `None` for one that is no text or too long. Empty ones are
/// left out, as lists in headers may have them.
fn entries<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    is_comma: impl Fn(&str) -> Option<usize> + Copy + 'a,
) -> impl Iterator<Item = Option<&'a str>> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(move |line| {
            let mut rest = line.to_str().ok();
            let mut is_over = false;
            std::iter::from_fn(move || {
                if is_over {
                    return None;
                }
                let Some(text) = rest else {
                    is_over = true;
                    return Some(None);
                };
                // A list of nothing but commas costs as many steps as it has entries, and no more are taken than that.
                let entry = match is_comma(text).and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
                    Some((left, entry)) => {
                        rest = Some(left);
                        entry
                    }
                    None => {
                        is_over = true;
                        text
                    }
                };
                Some(Some(entry.trim()).filter(|entry| entry.len() <= MAX_ENTRY_BYTES))
            })
        })
        .take(MAX_ENTRIES)
        .filter(|entry| entry.is_none_or(|entry| !entry.is_empty()))
}

/// Where the last comma stands.
fn plain(text: &str) -> Option<usize> {
    text.rfind(',')
}

/// Where the last comma stands that is not within quotes. Counted from the right: what is left of the entry that the proxy
/// wrote may have any number of quotes.
fn quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut is_within = false;
    for (at, byte) in bytes.iter().enumerate().rev().take(MAX_ENTRY_BYTES + 1) {
        match byte {
            b'"' => {
                let escapes = bytes.iter().take(at).rev().take_while(|byte| **byte == b'\\').count();
                if !is_within || escapes % 2 == 0 {
                    is_within = !is_within;
                }
            }
            b',' if !is_within => return Some(at),
            _ => {}
        }
    }
    None
}

/// The value of a parameter of one element of `Forwarded` (RFC 7239); `None` when it is not there, there twice, or the element
/// cannot be read.
fn element(text: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(value) => unquoted(value)?,
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value.get(..end)?.trim_end().to_owned(), value.get(end..)?)
            }
        };
        if value.contains(['"', '=']) && !name.trim().eq_ignore_ascii_case("host") {
            return None;
        }
        if name.trim().eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return None;
        }
        let after = after.trim_start();
        if after.is_empty() {
            return found;
        }
        rest = after.strip_prefix(';')?;
    }
}

/// The text up to the closing quote, and what follows that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// An address as proxies write it: with or without a port, an IPv6 address in brackets or not. `unknown` and names that hide an
/// address (`_gateway`) are none.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return ipv6(host).filter(|_| is_port);
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => host.parse().ok().filter(|_| is_port(port)),
        Some(_) => ipv6(text),
        None => text.parse().ok(),
    }
}

/// The zone of an address means something on the proxy's machine only.
fn ipv6(text: &str) -> Option<IpAddr> {
    let (host, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let address: Ipv6Addr = host.parse().ok().filter(|_| is_zone)?;
    Some(IpAddr::from(address).to_canonical())
}

/// A number, or a name that hides one (`_p1`).
fn is_port(text: &str) -> bool {
    let is_hidden = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    is_number || text.strip_prefix('_').is_some_and(is_hidden)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;
    use crate::config::{Config, Sources};

    fn config(header: &str) -> HttpConfig {
        let sources = Sources::from_variables([
            ("RAGBOARD_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8:ffff::/48"),
            ("RAGBOARD_FORWARDED_HEADER", header),
        ]);
        Config::load(&sources).unwrap().http
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    fn of(lines: &[(&str, &str)]) -> String {
        client(&config("either"), &headers(lines), "10.0.0.1:5000".parse().unwrap()).to_string()
    }

    #[test]
    fn addresses_are_read_however_proxies_write_them() {
        for (entry, expected) in [
            ("203.0.113.1", "203.0.113.1"),
            ("203.0.113.1:40000", "203.0.113.1"),
            ("\"203.0.113.1:40000\"", "203.0.113.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("\"[2001:DB8::1]:4711\"", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("::ffff:203.0.113.1", "203.0.113.1"),
            ("[::ffff:203.0.113.1]:9", "203.0.113.1"),
            ("  203.0.113.1 , ", "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1:1", "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1, 10.1.2.3:80", "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1, ::ffff:10.1.2.3, [2001:db8:ffff::1]:80", "203.0.113.1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ] {
            assert_eq!(of(&[("x-forwarded-for", entry)]), expected, "{entry}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_at_the_last_known_hop() {
        for entry in [
            "203.0.113.1, unknown",
            "203.0.113.1, _hidden",
            "203.0.113.1, 1.2.3.4:99999",
            "203.0.113.1, 1.2.3.4:",
            "203.0.113.1, [1.2.3.4]:1",
            "203.0.113.1, [2001:db8::1",
            "203.0.113.1, [2001:db8::1]x",
            "203.0.113.1, fe80::1%",
            "203.0.113.1, 01.2.3.4",
            "203.0.113.1, ä",
            "",
            ",",
        ] {
            assert_eq!(of(&[("x-forwarded-for", entry)]), "10.0.0.1", "{entry}");
        }
        assert_eq!(of(&[("x-forwarded-for", "203.0.113.1, unknown, 10.0.0.7")]), "10.0.0.7");
        assert_eq!(of(&[("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "unknown")]), "10.0.0.1");
        assert_eq!(of(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.1")]), "203.0.113.1");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        for (line, expected) in [
            ("for=203.0.113.1", "203.0.113.1"),
            ("For=\"203.0.113.1:40000\";proto=https;by=10.0.0.9", "203.0.113.1"),
            ("proto=http; for=\"[2001:db8::1]:4711\" ; host=\"a.example:8080\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"203.0.113.1:_p1\"", "203.0.113.1"),
            ("for=6.6.6.6, for=203.0.113.1, for=10.2.3.4", "203.0.113.1"),
            ("for=203.0.113.1, for=unknown", "10.0.0.1"),
            ("for=203.0.113.1, for=_gateway", "10.0.0.1"),
            ("for=203.0.113.1, proto=https", "10.0.0.1"),
            ("for=203.0.113.1;for=203.0.113.2", "10.0.0.1"),
            ("for=\"203.0.113.1", "10.0.0.1"),
            // What the client sent before is open in every way, and swallows nothing of what the proxy wrote.
            ("for=6.6.6.6;x=\", for=203.0.113.1", "203.0.113.1"),
            ("for=6.6.6.6;x=\", for=\"[2001:db8::1]:1\"", "2001:db8::1"),
            ("for=\"6.6.6.6\\\", for=203.0.113.1", "203.0.113.1"),
            ("nonsense, for=203.0.113.1", "203.0.113.1"),
        ] {
            assert_eq!(of(&[("forwarded", line)]), expected, "{line}");
        }
    }

    #[test]
    fn two_headers_have_to_agree_unless_one_was_chosen() {
        let both = |list, elements| [("x-forwarded-for", list), ("forwarded", elements)];
        assert_eq!(of(&both("203.0.113.1:5", "for=203.0.113.1")), "203.0.113.1");
        let lines = both("203.0.113.1", "for=6.6.6.6");
        assert_eq!(of(&lines), "10.0.0.1");
        let by = |header| client(&config(header), &headers(&lines), "10.0.0.1:5000".parse().unwrap()).to_string();
        assert_eq!((by("x-forwarded-for"), by("forwarded")), ("203.0.113.1".to_owned(), "6.6.6.6".to_owned()));
    }

    #[test]
    fn strangers_are_not_believed_and_long_headers_are_not_read_to_their_end() {
        let lines = headers(&[("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.1")]);
        for peer in ["192.0.2.7:1", "[::ffff:192.0.2.7]:1"] {
            assert_eq!(client(&config("either"), &lines, peer.parse().unwrap()).to_string(), "192.0.2.7");
        }
        let mapped = client(&config("either"), &lines, "[::ffff:10.0.0.1]:1".parse().unwrap());
        assert_eq!(mapped.to_string(), "203.0.113.1");
        assert_eq!(of(&[("x-forwarded-for", &format!("203.0.113.1{}", ", 10.0.0.2".repeat(31)))]), "203.0.113.1");
        assert_eq!(of(&[("x-forwarded-for", &format!("203.0.113.1{}", ", 10.0.0.2".repeat(32)))]), "10.0.0.2");
        assert_eq!(of(&[("x-forwarded-for", &format!("203.0.113.1{}", ",".repeat(200_000)))]), "10.0.0.1");
        assert_eq!(of(&[("forwarded", &format!("for=203.0.113.1;x=\"{}\"", ",".repeat(200_000)))]), "10.0.0.1");
        assert_eq!(of(&[("forwarded", &format!("for=203.0.113.1;x=\"{}\"", "\\\"".repeat(100_000)))]), "10.0.0.1");
    }

    #[test]
    fn a_request_is_settled_before_anybody_looks_at_it() {
        let request = |peer: &str| {
            let request = Request::get("http://user@ragboard.example:8443/graphql")
                .header("x-forwarded-for", "203.0.113.1")
                .header("x-forwarded-host", "app.example")
                .header("forwarded", "host=\"b.example:8443\"");
            settle(&config("either"), peer.parse().ok(), request.body(()).unwrap())
        };
        let from_proxy = request("10.0.0.1:1");
        assert_eq!(from_proxy.headers()[header::HOST], "ragboard.example:8443");
        assert_eq!(hosts(&config("either"), from_proxy.headers()), ["app.example", "b.example:8443"]);
        assert_eq!(hosts(&config("x-forwarded-for"), from_proxy.headers()), ["app.example"]);
        for peer in ["192.0.2.7:1", "unknown"] {
            assert!(!request(peer).headers().contains_key("x-forwarded-for"), "{peer}");
            assert_eq!(hosts(&config("either"), request(peer).headers()), [""; 0], "{peer}");
        }
    }
}
