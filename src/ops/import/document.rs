//! Makes the node's text out of a file's text: title, content, language, number of words.

use serde_json::{Map, Value, json};

use super::{html, kind::FileKind, markdown, tree::name_of};
use crate::domain::{Rect, ResourceType, import::ImportedText, language};

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

/// The links that a text contains.
pub(super) fn links(kind: FileKind, text: &str) -> Vec<FoundLink> {
    match kind {
        FileKind::Markdown => markdown::extract(text).links,
        FileKind::Html => html::extract(text).links,
        FileKind::Source(_) | FileKind::Text => Vec::new(),
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

/// Words between white space that have a letter or digit; a character of Chinese or Japanese counts as a word.
fn count_words(text: &str) -> usize {
    let (mut words, mut inside) = (0, false);
    for c in text.chars() {
        if matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}') {
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
