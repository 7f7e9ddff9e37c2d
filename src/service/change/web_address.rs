//! What addresses of the web are taken: absolute ones of http and https that mean the same to everybody who reads them.
//!
//! They are shown and followed by clients of all kinds, which do not read odd ones alike. Whether the gateway itself may
//! call an address is another question, see `outbound`.

use url::Url;

/// Characters of an address.
const MAX_CHARS: usize = 2_000;

/// Characters that are not seen or turn others around: what is read is then not what is followed.
fn is_deceptive(letter: char) -> bool {
    letter.is_control()
        || letter.is_whitespace()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

/// Why an address is not taken; `None` for one that is.
pub(super) fn fault(address: &str) -> Option<&'static str> {
    if address.len() > MAX_CHARS && address.chars().count() > MAX_CHARS {
        return Some("At most 2000 characters");
    }
    if address.chars().any(is_deceptive) {
        return Some("An address holds no blanks, control characters or characters that are not seen");
    }
    let absolute = "An absolute address with http or https is expected";
    let Some((scheme, rest)) = address.split_once("://") else { return Some(absolute) };
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Some(absolute);
    }
    // Browsers read it as `/`, others do not.
    if address.contains('\\') {
        return Some("An address holds no backslash");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("An address holds no name or password");
    }
    if authority.contains('%') {
        return Some("The host of an address is not percent-encoded");
    }
    let has_host = !authority.is_empty() && Url::parse(address).is_ok_and(|url| url.has_host());
    if has_host { None } else { Some(absolute) }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn plain_addresses_are_taken() {
        for address in [
            "http://example.org",
            "HTTPS://Example.org:8443/a/b?c=d&e=%0a#f@g",
            "https://example.org/@somebody/post",
            "https://example.org/?mail=a@b.example",
            "https://пример.example/путь",
            "https://bücher.example/é",
            "http://[2001:db8::1]/",
            "http://192.0.2.1:80/x",
            &format!("https://example.org/{}", "é".repeat(1_980)),
        ] {
            assert_eq!(fault(address), None, "{address}");
        }
    }

    #[test]
    fn others_are_refused() {
        for address in [
            "",
            "example.org",
            "//example.org/a",
            "http:example.org",
            "http:/example.org",
            "http://",
            "http:///path",
            "http://?a",
            "http://:80/",
            "ftp://example.org",
            "javascript:alert(1)",
            "java\tscript:alert(1)",
            "javascript://example.org/%0aalert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            " https://example.org",
            "https://example.org ",
            "https://exa mple.org",
            "https://example.org/a b",
            "https://example.org/\u{a0}",
            "https://example.org/\n",
            "ht\ntp://example.org",
            "https://example.org/\u{7f}",
            "https://example.org/\u{85}",
            "https://user@example.org",
            "https://user:password@example.org",
            "https://:@example.org",
            "https://@example.org",
            "https://example.com@example.org/",
            "https://example.com\\@example.org/",
            "https:\\\\example.org",
            "https://exa%0ample.org",
            "https://%65xample.org",
            "https://example.org%2f@other.example",
            "https://exa\u{200b}mple.org",
            "https://\u{202e}gro.elpmaxe",
            "https://exa\u{ad}mple.org",
            "https://example.org/\u{2066}x",
            "https://exa\u{e0041}mple.org",
            "https://exa<mple.org",
            "https://[::1",
            "https://example.org:99999/",
            "https://exa\u{2100}mple.org",
            &format!("https://example.org/{}", "x".repeat(2_000)),
        ] {
            assert!(fault(address).is_some(), "{address}");
        }
    }
}
