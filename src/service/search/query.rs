//! What somebody typed: words, "exact phrases" and -exclusions. How words are stemmed is the database's business.

use crate::domain::{Error, Result};

/// Whole paragraphs are asked, too; longer texts are no questions.
pub const MAX_QUERY_CHARS: usize = 10_000;
/// Phrases, and exclusions; each costs a look into the index of words.
const MAX_PHRASES: usize = 8;

/// A text to search for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// Everything that is wanted, phrases included and exclusions left out: what is embedded and weighed.
    pub text: String,
    /// Must stand in a resource as they are, but for the endings of words.
    pub phrases: Vec<String>,
    /// Must not stand in it.
    pub excluded: Vec<String>,
}

impl Query {
    /// Reads a text. A quotation mark that is not closed, and a minus that stands alone, are letters like others.
    ///
    /// # Errors
    /// `InvalidArgument` when it is longer than [`MAX_QUERY_CHARS`], has more than 8 phrases or more than 8 exclusions, or asks
    /// for nothing.
    pub fn parse(text: &str) -> Result<Query> {
        if text.chars().count() > MAX_QUERY_CHARS {
            return Err(Error::invalid(format!("query has more than {MAX_QUERY_CHARS} characters")));
        }
        let mut query = Query::default();
        let mut wanted: Vec<String> = Vec::new();
        // Zero bytes are no text for the database.
        let text = text.replace('\0', " ");
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (is_excluded, item) = match rest.strip_prefix('-').filter(|item| starts_item(item)) {
                Some(item) => (true, item),
                None => (false, rest),
            };
            let (said, after, is_phrase) = match quoted(item) {
                Some((said, after)) => (said, after, true),
                None => {
                    let (word, after) = item.split_once(char::is_whitespace).unwrap_or((item, ""));
                    (word, after, false)
                }
            };
            let said = said.trim();
            if !said.is_empty() {
                match (is_excluded, is_phrase) {
                    (true, _) => query.excluded.push(said.to_owned()),
                    (false, true) => {
                        query.phrases.push(said.to_owned());
                        wanted.push(said.to_owned());
                    }
                    (false, false) => wanted.push(said.to_owned()),
                }
            }
            rest = after.trim_start();
        }
        if query.phrases.len() > MAX_PHRASES || query.excluded.len() > MAX_PHRASES {
            return Err(Error::invalid(format!("query has more than {MAX_PHRASES} phrases, or exclusions")));
        }
        query.text = wanted.join(" ");
        if query.text.is_empty() {
            return Err(Error::invalid("query asks for nothing"));
        }
        Ok(query)
    }
}

/// Whether something to exclude begins here: a word or a phrase, and no dash between two words.
fn starts_item(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_alphanumeric() || (first == '"' && quoted(text).is_some()))
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, Vec<String>, Vec<String>) {
        let Query { text, phrases, excluded } = Query::parse(text).unwrap();
        (text, phrases, excluded)
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn words_phrases_and_exclusions_are_told_apart() {
        assert_eq!(
            of("  how to \"lock a row\" -mysql -\"table lock\" in postgres "),
            ("how to lock a row in postgres".to_owned(), strings(&["lock a row"]), strings(&["mysql", "table lock"]))
        );
    }

    #[test]
    fn what_only_looks_like_one_is_a_word() {
        for text in ["a - b", "say \"hello", "well-known", "5\" pipe", "-- comment", "\"\" empty", "-\"open"] {
            let (words, phrases, excluded) = of(text);
            assert!(phrases.is_empty() && excluded.is_empty(), "{text}: {words} {phrases:?} {excluded:?}");
        }
    }

    #[test]
    fn asking_for_nothing_is_refused() {
        for text in ["", "  ", "-only -exclusions", "\"\"", "\0"] {
            assert!(Query::parse(text).is_err(), "{text:?}");
        }
        assert!(Query::parse(&"x".repeat(MAX_QUERY_CHARS + 1)).is_err());
        assert!(Query::parse(&"\"a\" ".repeat(9)).is_err());
    }
}
