//! What is taken from an HTML text: its title, its links, and the text that a reader sees.
//!
//! A forgiving scanner, not a parser: it builds no tree and mends nothing, because nothing here is shown as HTML. Its time
//! is linear in the length of the text.

use super::document::{Extract, FoundLink};

/// After these a new line begins.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "td",
    "th",
    "tr",
    "ul",
];

pub(super) fn extract(html: &str) -> Extract {
    let mut page = Page::default();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        page.text(text);
        rest = page.markup(after);
    }
    page.text(rest);
    page.finish()
}

#[derive(Default)]
struct Page {
    extract: Extract,
    title: Option<String>,
    link: Option<FoundLink>,
    /// Line breaks are meant.
    is_preformatted: bool,
    /// A tag was found that does not end when quotes are minded: from there on they are not, or every tag would be looked
    /// for to the end of the text.
    quotes_are_broken: bool,
}

impl Page {
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = unescape(text);
        if let Some(title) = &mut self.title {
            title.push_str(&text);
            return;
        }
        if let Some(link) = &mut self.link {
            link.label.push_str(&text);
        }
        if self.is_preformatted {
            self.extract.text.push_str(&text);
        } else {
            self.extract.text.extend(text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }));
        }
    }

    /// Reads what follows a `<` and returns what is behind it.
    fn markup<'a>(&mut self, after: &'a str) -> &'a str {
        if let Some(comment) = after.strip_prefix("!--") {
            return comment.split_once("-->").map_or("", |(_, rest)| rest);
        }
        if after.starts_with(['!', '?']) {
            return after.split_once('>').map_or("", |(_, rest)| rest);
        }
        if !after.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic()) {
            self.text("<");
            return after;
        }
        let minded = if self.quotes_are_broken { None } else { split_tag(after) };
        self.quotes_are_broken = minded.is_none();
        let Some((tag, rest)) = minded.or_else(|| after.split_once('>')) else { return "" };
        let (closing, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name_end = tag.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(tag.len());
        let (name, attributes) = tag.split_at_checked(name_end).unwrap_or((tag, ""));
        let name = name.to_ascii_lowercase();
        if BLOCKS.contains(&name.as_str()) {
            self.extract.text.push('\n');
        }
        match (name.as_str(), closing) {
            ("script" | "style", false) => return skip_raw(rest, &name),
            ("title", false) if self.extract.title.is_none() => self.title = Some(String::new()),
            ("title", true) => self.end_title(),
            ("pre", _) => self.is_preformatted = !closing,
            ("a", _) => {
                self.end_link();
                if let Some(target) = attribute(attributes, "href") {
                    self.link = Some(FoundLink { target: unescape(target), label: String::new() });
                }
            }
            _ => {}
        }
        rest
    }

    fn end_title(&mut self) {
        if let Some(title) = self.title.take().filter(|title| !title.trim().is_empty()) {
            self.extract.title = Some(title);
        }
    }

    fn end_link(&mut self) {
        self.extract.links.extend(self.link.take());
    }

    fn finish(mut self) -> Extract {
        self.end_title();
        self.end_link();
        self.extract.text = tidy(&self.extract.text);
        self.extract
    }
}

/// Cuts at the `>` that ends a tag, which is none inside quotes.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '>' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            None => {}
        }
    }
    None
}

/// What is behind the end tag of a script or style.
fn skip_raw<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return after.split_once('>').map_or("", |(_, rest)| rest);
        }
        rest = after;
    }
    ""
}

/// The value of an attribute of a tag.
fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        // The first character is part of the name whatever it is, so that every turn gets further.
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| c.is_whitespace() || matches!(c, '=' | '/'))
            .map_or(rest.len(), |(at, _)| at);
        let (name, after) = rest.split_at_checked(end)?;
        let Some(value) = after.trim_start().strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => value.get(1..)?.split_once(quote)?,
            None => value.split_at_checked(value.find(char::is_whitespace).unwrap_or(value.len()))?,
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// One space between words, one line break between blocks.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if !tidied.is_empty() {
            tidied.push('\n');
        }
        tidied.push_str(first);
        for word in words {
            tidied.push(' ');
            tidied.push_str(word);
        }
    }
    tidied
}

/// Replaces character references: numbers, and the names that are common in documents.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        // The longest name that is known has eight characters.
        let end = after.char_indices().take(10).find(|(_, c)| *c == ';').map(|(at, _)| at);
        let reference = end.and_then(|end| Some((character(after.get(..end)?)?, after.get(end + 1..)?)));
        match reference {
            Some((c, after)) => {
                plain.push(c);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(reference: &str) -> Option<char> {
    if let Some(number) = reference.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        // NUL is no character of a text, and PostgreSQL cannot store it.
        return Some(char::from_u32(code).filter(|c| *c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Some(match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "para" => '¶',
        "sect" => '§',
        "middot" => '·',
        "bull" => '•',
        "hellip" => '…',
        "ndash" => '–',
        "mdash" => '—',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "times" => '×',
        "larr" => '←',
        "rarr" => '→',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ccedil" => 'ç',
        "ntilde" => 'ñ',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_title_links_and_readable_text() {
        let page = extract(
            "<!DOCTYPE html><html><head><TITLE>Caf&eacute;\n &amp; Co</TITLE><style>p > a { x: '<a href=no>' }</style>\
             <script>if (a < b) document.write('<a href=\"no.html\">no</a>');</script></head>\
             <body><!-- <a href=no>no</a> --><h1>Head</h1><p>One <b>two</b>\n three &lt;4&gt; 5 < 6.</p>\
             <a class=\"x > y\" HREF='sub/a.html#top'>First&nbsp;<i>link</i></a><br/>\
             <a href=b.html>Second <a name=here>x</a><pre>let a;\nlet b;</pre>\nend</body></html>",
        );
        assert_eq!(page.title.as_deref(), Some("Café\n & Co"));
        assert_eq!(page.text, "Head\nOne two three <4> 5 < 6.\nFirst link\nSecond x\nlet a;\nlet b;\nend");
        let links: Vec<_> = page.links.iter().map(|link| (link.target.as_str(), link.label.as_str())).collect();
        assert_eq!(links, [("sub/a.html#top", "First\u{a0}link"), ("b.html", "Second ")]);
    }

    #[test]
    fn broken_markup_ends_somewhere() {
        for (html, text) in [
            ("a <b", "a"),
            ("a <b c=\"> d", "a d"),
            ("x <script>never closed", "x"),
            ("x <!-- never closed", "x"),
            ("a & b &unknown; &#xZZ; &#0; &#1114112;", "a & b &unknown; &#xZZ; \u{fffd} \u{fffd}"),
            ("<a href>x</a><a href=>y</a><a ='\">z", "xyz"),
            ("é<é>ü", "é<é>ü"),
            ("<", "<"),
        ] {
            assert_eq!(extract(html).text, text, "{html:?}");
        }
    }

    #[test]
    fn time_is_linear_in_the_length() {
        // Each of these took minutes if it were not.
        for piece in ["<a ", "<a '>", "<a \"'>", "</", "<script>", "<!--", "&", "<a b='", "<a \">\"", "&#1"] {
            let _ = extract(&format!("{}'", piece.repeat(5_000_000 / piece.len())));
        }
    }
}
