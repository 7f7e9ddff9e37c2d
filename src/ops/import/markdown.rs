//! What is taken from a Markdown text: its title (of the front matter, else its first heading), its links, and its prose. The text itself is stored as written.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::document::{Extract, FoundLink};

pub(super) fn extract(text: &str) -> Extract {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        // Without these, what stands between the marks at the head of a file would be read as a heading.
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut extract = Extract::default();
    let mut heading: Option<String> = None;
    let mut link: Option<FoundLink> = None;
    let mut hidden = 0usize;
    let mut front = None;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::Heading { .. }) if extract.title.is_none() => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                extract.title = extract.title.or(heading.take().filter(|heading| !heading.trim().is_empty()));
                extract.text.push('\n');
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                link = Some(FoundLink { target: dest_url.into_string(), label: String::new() });
            }
            Event::End(TagEnd::Link) => extract.links.extend(link.take()),
            Event::Start(Tag::MetadataBlock(_)) => front = Some(String::new()),
            Event::End(TagEnd::MetadataBlock(_)) => {
                extract.title = extract.title.or(front.take().and_then(|front| title_of(&front)));
            }
            Event::Start(Tag::CodeBlock(_)) => hidden += 1,
            Event::End(TagEnd::CodeBlock) => hidden = hidden.saturating_sub(1),
            Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::TableCell) => extract.text.push('\n'),
            Event::Text(words) | Event::Code(words) if hidden == 0 => match &mut front {
                Some(front) => front.push_str(&words),
                None => say(&words, &mut extract.text, &mut heading, &mut link),
            },
            Event::SoftBreak | Event::HardBreak => say(" ", &mut extract.text, &mut heading, &mut link),
            _ => {}
        }
    }
    extract
}

/// The title that front matter names, in YAML or TOML, on one line.
fn title_of(front: &str) -> Option<String> {
    let value =
        front.lines().find_map(|line| line.strip_prefix("title")?.trim_start().strip_prefix([':', '=']))?.trim();
    let quoted = |mark| value.strip_prefix(mark)?.strip_suffix(mark);
    let title = match (quoted('"'), quoted('\'')) {
        (Some(inside), _) => inside.replace("\\\"", "\""),
        (None, Some(inside)) => inside.replace("''", "'"),
        // A text on the lines below.
        (None, None) if value.starts_with(['|', '>']) => return None,
        (None, None) => value.to_owned(),
    };
    Some(title).filter(|title| !title.trim().is_empty())
}

/// Words belong to the text, and to the heading and the link that they stand in.
fn say(words: &str, text: &mut String, heading: &mut Option<String>, link: &mut Option<FoundLink>) {
    text.push_str(words);
    if let Some(heading) = heading {
        heading.push_str(words);
    }
    if let Some(link) = link {
        link.label.push_str(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_is_that_of_the_front_matter_or_the_first_heading_that_says_something() {
        for (text, title) in [
            ("Intro.\n\n## The `core` of *it*\n\n# Later", Some("The core of it")),
            ("---\ntitle: Front\n---\n\nSetext\n======\n", Some("Front")),
            ("---\nslug: a\ntitle: \"The \\\"front\\\": it\"\n---\n# Head", Some("The \"front\": it")),
            ("+++\ntitle = 'It''s'\n+++\n# Head", Some("It's")),
            ("---\ntitle: >\n  Folded\n---\n# Head", Some("Head")),
            ("---\ntitle:\nsubtitle: x\n---\n# Head", Some("Head")),
            ("#\n\n# Second", Some("Second")),
            ("```\n# not a heading\n```\n", None),
            ("", None),
        ] {
            assert_eq!(extract(text).title.as_deref(), title, "{text:?}");
        }
    }

    #[test]
    fn links_are_found_however_they_are_written() {
        let text = "[one](a.md) [two][t] <https://example.org> ![no](pic.png) [![alt](p.png)](b.md)\n\n\
                    `[code](c.md)`\n\n    [block](d.md)\n\n[with\nbreak](<e f.md> \"title\")\n\n[t]: sub/two.md\n";
        let links: Vec<_> = extract(text).links.into_iter().map(|link| (link.target, link.label)).collect();
        let expected = [
            ("a.md", "one"),
            ("sub/two.md", "two"),
            ("https://example.org", "https://example.org"),
            ("b.md", "alt"),
            ("e f.md", "with break"),
        ];
        assert_eq!(links, expected.map(|(target, label)| (target.to_owned(), label.to_owned())));
    }

    #[test]
    fn prose_is_without_code_and_front_matter() {
        let text = "+++\nkey = 1\n+++\n# Head\n\nSome *words*.\n\n```rust\nfn main() {}\n```\n- item";
        assert_eq!(extract(text).text.split_whitespace().collect::<Vec<_>>(), ["Head", "Some", "words.", "item"]);
    }
}
