//! Makes the node's text out of a file's text: title, content, language, number of words.

use serde_json::{Map, Value, json};

use super::{html, kind::FileKind, markdown, reading::Digest, tree::name_of};
use crate::domain::{
    Rect, ResourceType,
    import::{ImportedText, TextDigests},
    language,
};

const MAX_TITLE_CHARS: usize = 500;
const MAX_LABEL_CHARS: usize = 255;
const MAX_FOLDER_CHARS: usize = 255;

/// What a marked-up text gives away.
#[derive(Default)]
pub(super) struct Extract {
    pub(super) title: Option<String>,
    pub(super) links: Vec<FoundLink>,
    /// Without markup; of Markdown, without code.
    pub(super) text: String,
}

/// A link as it is written.
pub(super) struct FoundLink {
    pub(super) target: String,
    pub(super) label: String,
}

/// What a first look at a text tells.
pub(super) struct Glance {
    /// The links that it contains.
    pub(super) links: Vec<FoundLink>,
    /// Whether a reader would see nothing of it.
    pub(super) is_blank: bool,
}

/// Looks at a text for the first time.
pub(super) fn glance(kind: FileKind, text: &str) -> Glance {
    let is_blank = |text: &str| text.trim().is_empty();
    match kind {
        FileKind::Markdown => Glance { links: markdown::extract(text).links, is_blank: is_blank(text) },
        FileKind::Html => {
            let extract = html::extract(text);
            Glance { is_blank: is_blank(&extract.text), links: extract.links }
        }
        FileKind::Source(_) | FileKind::Text => Glance { links: Vec::new(), is_blank: is_blank(text) },
    }
}

/// What a reader sees of a text.
pub(super) fn readable(kind: FileKind, text: String) -> String {
    match kind {
        FileKind::Html => html::extract(&text).text,
        FileKind::Markdown | FileKind::Source(_) | FileKind::Text => text,
    }
}

/// The text of the node that the file becomes.
///
/// What is to be read as it stands is a `text`. HTML is not: its source is kept as the content of a `document`, and what a
/// reader would see of it as the extracted text, which is where search and clients look with all documents.
pub(super) fn text_of(kind: FileKind, path: &str, text: String) -> ImportedText {
    let extract = match kind {
        FileKind::Markdown => markdown::extract(&text),
        FileKind::Html => html::extract(&text),
        FileKind::Source(_) | FileKind::Text => Extract::default(),
    };
    let language = match kind {
        FileKind::Markdown | FileKind::Html => language::detect(&extract.text),
        FileKind::Text => language::detect(&text),
        // A natural language says nothing about source code; its own is in the metadata.
        FileKind::Source(_) => None,
    };
    let title = extract.title.and_then(|title| line(&title, MAX_TITLE_CHARS));
    let title = title.unwrap_or_else(|| file_title(path));
    let (resource_type, extracted_text) = match kind {
        FileKind::Html => (ResourceType::Document, Some(extract.text)),
        _ => (ResourceType::Text, None),
    };
    let words = count_words(extracted_text.as_deref().unwrap_or(&text));
    ImportedText {
        resource_type,
        title,
        content: text,
        extracted_text,
        language: language.map(str::to_owned),
        word_count: i32::try_from(words).unwrap_or(i32::MAX),
    }
}

/// What a file's node remembers about its origin.
pub(super) fn file_metadata(kind: FileKind, path: &str, digest: &str, size_bytes: u64) -> Value {
    let mut metadata = Map::new();
    metadata.insert("import".into(), json!({ "path": path, "digest": digest, "size_bytes": size_bytes }));
    if let FileKind::Source(language) = kind {
        metadata.insert("sourceLanguage".into(), language.into());
    }
    Value::Object(metadata)
}

/// Adds to the metadata of a file's node what was made of the file: whether somebody edits that is seen from it.
pub(super) fn with_text(mut metadata: Value, text: &ImportedText) -> Value {
    if let Some(Value::Object(origin)) = metadata.get_mut("import") {
        let TextDigests { text, title } = digests(text);
        origin.insert("text".into(), text.into());
        origin.insert("title".into(), title.into());
    }
    metadata
}

/// By what the text and the title of a node are known.
pub(super) fn digests(text: &ImportedText) -> TextDigests {
    let hex = |text: &str| Digest::of(text.as_bytes()).hex();
    TextDigests { text: hex(&text.content), title: hex(&text.title) }
}

/// What a folder's node remembers about its origin.
pub(super) fn folder_metadata(path: &str) -> Value {
    json!({ "import": { "path": path } })
}

/// Adds to the metadata of a new node where it was put: whether somebody moves it is seen from that.
pub(super) fn put_at(mut metadata: Value, rect: Rect) -> Value {
    if let Some(Value::Object(origin)) = metadata.get_mut("import") {
        origin.insert("at".into(), json!([rect.x, rect.y]));
    }
    metadata
}

/// The title of a file that has none in its text.
pub(super) fn file_title(path: &str) -> String {
    line(name_of(path), MAX_TITLE_CHARS).unwrap_or_default()
}

/// The name of a folder's node.
pub(super) fn folder_name(path: &str) -> String {
    line(name_of(path), MAX_FOLDER_CHARS).unwrap_or_else(|| "?".to_owned())
}

/// The label of a link.
pub(super) fn label(text: &str) -> Option<String> {
    line(text, MAX_LABEL_CHARS)
}

/// One line of at most so many characters, without control characters; `None` when nothing is left.
fn line(text: &str, max_chars: usize) -> Option<String> {
    let mut line = String::new();
    // Four bytes to a character at most: what is far behind the end need not be looked at.
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * max_chars {
            break;
        }
    }
    if let Some((end, _)) = line.char_indices().nth(max_chars) {
        line.truncate(end);
        line.pop();
        line.push('…');
    }
    (!line.is_empty()).then_some(line)
}

/// Whether a character is a word of its own: one of Chinese or Japanese.
pub(super) fn is_word(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// Words between white space that have a letter or digit; a character of Chinese or Japanese counts as a word.
fn count_words(text: &str) -> usize {
    let (mut words, mut inside) = (0, false);
    for c in text.chars() {
        if is_word(c) {
            words += 1;
            inside = false;
        } else if c.is_whitespace() {
            inside = false;
        } else if !inside && c.is_alphanumeric() {
            words += 1;
            inside = true;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(line(" a\n\tb\u{7}\0c ", 10).as_deref(), Some("a b c"));
        assert_eq!(line("äöü", 3).as_deref(), Some("äöü"));
        assert_eq!(line("äöüß", 3).as_deref(), Some("äö…"));
        let long = folder_name(&"ü".repeat(300));
        assert_eq!((long.chars().count(), long.chars().last()), (255, Some('…')));
        assert_eq!(line(" \n ", 3), None);
        assert_eq!(folder_name("\u{1}"), "?");
    }

    #[test]
    fn words_are_counted_as_people_count_them() {
        for (text, words) in
            [("", 0), ("# One, two - three!", 3), ("don't re-use 3.14", 3), ("東京タワー", 5), ("Größe größer", 2)]
        {
            assert_eq!(count_words(text), words, "{text:?}");
        }
    }

    #[test]
    fn blank_is_what_shows_a_reader_nothing() {
        for (kind, text, is_blank) in [
            (FileKind::Markdown, "", true),
            (FileKind::Text, " \n\t\u{a0}", true),
            (FileKind::Markdown, "---\n", false),
            (FileKind::Html, "<html><body><p> </p></body></html>", true),
            (FileKind::Html, "<p>x", false),
            (FileKind::Source("rust"), "<p>", false),
        ] {
            assert_eq!(glance(kind, text).is_blank, is_blank, "{text:?}");
        }
    }

    #[test]
    fn metadata_remembers_what_was_made_of_the_file() {
        let text = text_of(FileKind::Markdown, "a.md", "# Title".to_owned());
        let metadata = with_text(file_metadata(FileKind::Markdown, "a.md", "00", 7), &text);
        assert_eq!(metadata["import"]["digest"], "00");
        assert_eq!(metadata["import"]["text"], Digest::of(b"# Title").hex());
        assert_eq!(metadata["import"]["title"], Digest::of(b"Title").hex());
        // As sha256sum says.
        assert_eq!(Digest::of(b"").hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn each_kind_becomes_its_node() {
        let page = text_of(FileKind::Html, "a/page.html", "<title>T</title><p>Two words".to_owned());
        assert_eq!((page.resource_type, page.title.as_str(), page.word_count), (ResourceType::Document, "T", 2));
        assert_eq!(page.extracted_text.as_deref(), Some("Two words"));
        let source = text_of(FileKind::Source("rust"), "a/lib.rs", "fn main() {}".to_owned());
        assert_eq!((source.title.as_str(), source.language), ("lib.rs", None));
        let prose = "The quick brown fox jumps over the lazy dog, and then it runs away into the forest.";
        let notes = text_of(FileKind::Markdown, "notes.md", format!("# *Fox*\n\n{prose}"));
        assert_eq!((notes.title.as_str(), notes.language.as_deref(), notes.word_count), ("Fox", Some("en"), 18));
        assert_eq!(file_metadata(FileKind::Source("rust"), "a/lib.rs", "00", 12)["sourceLanguage"], "rust");
    }
}
