//! Where a link in a file leads: the path of a file or folder of the same tree.

/// `link` as written in the file at `from`, to a path below the root; `None` when it leads elsewhere, or to the root.
pub(super) fn resolve(from: &str, link: &str) -> Option<String> {
    let link = link.trim();
    let link = link.split(['#', '?']).next().unwrap_or_default();
    // Nothing left: a place in the same file.
    if link.is_empty() || link.starts_with('/') || has_scheme(link) {
        return None;
    }
    let link = percent_decode(link)?;
    let mut names: Vec<&str> = from.split('/').collect();
    names.pop();
    for name in link.split('/') {
        match name {
            "" | "." => {}
            // Out of the tree, and none of our business.
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    (!names.is_empty()).then(|| names.join("/"))
}

/// `mailto:`, `https:` and the like; a colon behind a slash is part of a name.
fn has_scheme(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// `None` when the bytes are no UTF-8; what only looks like an escape stays.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links_lead_to_paths_of_the_tree() {
        for (link, path) in [
            ("other.md", Some("a/b/other.md")),
            ("./other.md#part", Some("a/b/other.md")),
            ("other.html?x=1#y", Some("a/b/other.html")),
            ("../c/", Some("a/c")),
            ("..", Some("a")),
            (".", Some("a/b")),
            ("../..", None),
            ("../../../outside.md", None),
            ("../../../a/b/other.md", None),
            ("gr%C3%B6%C3%9Fe%20x.md", Some("a/b/größe x.md")),
            ("100%.md", Some("a/b/100%.md")),
            ("%zz%2", Some("a/b/%zz%2")),
            ("%ff.md", None),
            ("sub/note:1.md", Some("a/b/sub/note:1.md")),
            ("#part", None),
            ("?x", None),
            ("", None),
            ("/root.md", None),
            ("//host/x.md", None),
            ("https://example.org/x.md", None),
            ("mailto:a@example.org", None),
        ] {
            assert_eq!(resolve("a/b/here.md", link).as_deref(), path, "{link:?}");
        }
        assert_eq!(resolve("here.md", "sub/x.md").as_deref(), Some("sub/x.md"));
        assert_eq!(resolve("here.md", "../x.md"), None);
    }
}
