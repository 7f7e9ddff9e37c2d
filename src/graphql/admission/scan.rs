//! The first look at a document: its tokens and brackets are counted while it is read, before anything is built of it.
//!
//! The parser of the library descends once per bracket, so a document that nests too deep must not reach it. This scan is
//! iterative, allocates nothing, and takes time in proportion to the text. What the tokens mean is the parser's business:
//! what this file cannot read, it leaves to the parser, which says what is wrong.

use crate::domain::{Code, Error, Result};

/// Brackets of all kinds that may stand within each other. The parser descends as often.
pub(super) const MAX_NESTING: usize = 100;
/// Tokens of one document; as graphql-java's default.
pub(super) const MAX_TOKENS: usize = 15_000;
/// Bytes of one name or number. The longest of the schema have 40; suggestions compare names letter by letter.
const MAX_WORD_BYTES: usize = 200;
/// Bytes of white space, commas and comments. The parser looks at them more than once.
const MAX_IGNORED_BYTES: usize = 200_000;

/// Bytes of all strings. The parser takes a fifth of a microsecond for each; long texts belong into variables.
const MAX_STRING_BYTES: usize = 200_000;

/// Refuses documents that are too deep or too long to be parsed.
///
/// # Errors
/// `CostExceeded`, with the bound that does not hold; `InvalidDocument` for a block string that does not end.
pub(super) fn scan(document: &str) -> Result<()> {
    let mut scan = Scan::of(document);
    while scan.token()? {}
    Ok(())
}

struct Scan<'a> {
    rest: &'a [u8],
    tokens: usize,
    nesting: usize,
    ignored: usize,
    in_strings: usize,
}

impl<'a> Scan<'a> {
    fn of(document: &'a str) -> Self {
        Scan { rest: document.as_bytes(), tokens: 0, nesting: 0, ignored: 0, in_strings: 0 }
    }

    /// Reads one token or a run of what is ignored; whether there is more.
    fn token(&mut self) -> Result<bool> {
        let Some(first) = self.rest.first() else { return Ok(false) };
        let length = match first {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => return self.ignore(self.run(|byte| b" \t\n\r,".contains(&byte))),
            b'#' => return self.ignore(self.run(|byte| byte != b'\n' && byte != b'\r')),
            // The byte order mark.
            0xEF if self.rest.starts_with(b"\xEF\xBB\xBF") => return self.ignore(3),
            b'{' | b'[' | b'(' => {
                self.nesting += 1;
                within("nesting of brackets", self.nesting, MAX_NESTING)?;
                1
            }
            b'}' | b']' | b')' => {
                self.nesting = self.nesting.saturating_sub(1);
                1
            }
            b'"' => {
                let length = self.string()?;
                self.in_strings += length;
                within("length of strings (give long texts in variables)", self.in_strings, MAX_STRING_BYTES)?;
                length
            }
            b'.' if self.rest.starts_with(b"...") => 3,
            byte if byte.is_ascii_alphabetic() || *byte == b'_' => self.word(self.run(is_word))?,
            byte if byte.is_ascii_digit() || *byte == b'-' => self.word(self.number())?,
            _ => 1,
        };
        self.tokens += 1;
        within("number of tokens", self.tokens, MAX_TOKENS)?;
        self.skip(length);
        Ok(true)
    }

    fn ignore(&mut self, length: usize) -> Result<bool> {
        self.ignored += length;
        within("number of blanks and characters of comments", self.ignored, MAX_IGNORED_BYTES)?;
        self.skip(length);
        Ok(true)
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    fn run(&self, belongs: impl Fn(u8) -> bool) -> usize {
        self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len()).max(1)
    }

    fn word(&self, length: usize) -> Result<usize> {
        within("length of a name or number", length, MAX_WORD_BYTES)?;
        Ok(length)
    }

    /// Length of the number that begins here, where the parser sees its end: `00` and `1-1` are two numbers.
    fn number(&self) -> usize {
        let digits = |from: usize| {
            self.rest.iter().skip(from).position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len() - from)
        };
        let at = |place: usize| self.rest.get(place).copied().unwrap_or_default();
        let mut end = usize::from(at(0) == b'-');
        end += if at(end) == b'0' { 1 } else { digits(end) };
        if at(end) == b'.' && at(end + 1).is_ascii_digit() {
            end += 1 + digits(end + 1);
        }
        if matches!(at(end), b'e' | b'E') {
            let sign = usize::from(matches!(at(end + 1), b'+' | b'-'));
            if at(end + 1 + sign).is_ascii_digit() {
                end += 1 + sign + digits(end + 1 + sign);
            }
        }
        end.max(1)
    }

    /// Length of the string that begins here, with its quotes. A block string that does not end is an error: the parser would
    /// read its opening quotes as an empty string, and what follows as part of the document.
    fn string(&self) -> Result<usize> {
        let is_block = self.rest.starts_with(b"\"\"\"");
        let mut at = if is_block { 3 } else { 1 };
        while let Some(rest) = self.rest.get(at..).filter(|rest| !rest.is_empty()) {
            at += match rest {
                [b'"', b'"', b'"', ..] if is_block => return Ok(at + 3),
                [b'\\', b'"', b'"', b'"', ..] if is_block => 4,
                _ if is_block => 1,
                [b'"', ..] => return Ok(at + 1),
                // A string does not go over the end of its line.
                [b'\n' | b'\r', ..] => return Ok(at),
                [b'\\', _, ..] => 2,
                _ => 1,
            };
        }
        if is_block {
            return Err(Error::new(Code::InvalidDocument, "A block string does not end"));
        }
        Ok(self.rest.len())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) fn within(what: &str, count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Error::new(Code::CostExceeded, format!("The {what} of the document is {count}, at most {most} is allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(document: &str) -> String {
        let error = scan(document).unwrap_err();
        assert_eq!(error.code(), Code::CostExceeded);
        error.to_string()
    }

    #[test]
    fn nesting_is_bounded_whatever_nests() {
        for (open, close) in [("[", "]"), ("{a:", "}"), ("{a", "}"), ("(a:", ")")] {
            let nested = |levels: usize| format!("{{f(a:{}1{})}}", open.repeat(levels), close.repeat(levels));
            assert!(scan(&nested(MAX_NESTING - 2)).is_ok());
            assert!(refused(&nested(MAX_NESTING - 1)).contains("nesting"));
            assert!(refused(&"[".repeat(1 << 20)).contains("nesting"));
        }
    }

    #[test]
    fn brackets_in_strings_and_comments_are_none() {
        let brackets = "[".repeat(1_000);
        for document in [
            format!("{{ a(b: \"{brackets}\") }}"),
            format!("{{ a(b: \"\\\"{brackets}\") }}"),
            format!("{{ a(b: \"\"\"{brackets}\n\\\"\"\" \"{brackets}\"\"\") }}"),
            format!("{{ a }} # {brackets}"),
        ] {
            assert!(scan(&document).is_ok(), "{document:.40}");
        }
        // A string ends with its line, so these brackets are outside of it.
        assert!(refused(&format!("{{ a(b: \"\n{brackets}\") }}")).contains("nesting"));
    }

    #[test]
    fn a_block_string_that_does_not_end_is_refused() {
        let brackets = "[".repeat(5_000);
        for document in
            [format!("{{ a(b: [\"\"\" \" {brackets}"), "{ a(b: \"\"\"".to_owned(), "\"\"\" \\\"\"\"".to_owned()]
        {
            assert_eq!(scan(&document).unwrap_err().code(), Code::InvalidDocument, "{document:.40}");
        }
        // Two quotes are a whole string.
        assert!(refused(&format!("{{ a(b: [\"\" {brackets}")).contains("nesting"));
    }

    #[test]
    fn numbers_and_dots_are_told_apart_as_the_parser_does() {
        let tokens = |text: &str| {
            let mut scan = Scan::of(text);
            while scan.token().unwrap() {}
            scan.tokens
        };
        for (text, count) in [
            ("000", 3),
            ("-1-1-1", 3),
            ("1.5e-3", 1),
            ("-0.25E+10", 1),
            ("1.5.5", 3),
            ("0e", 2),
            ("-", 1),
            ("a...F...F", 5),
            ("....", 2),
            ("a1_b", 1),
            ("1a", 2),
        ] {
            assert_eq!(tokens(text), count, "{text}");
        }
        assert!(refused(&format!("{{ a(b: [{}]) }}", "0".repeat(1 << 20))).contains("tokens"));
    }

    #[test]
    fn tokens_blanks_and_words_are_bounded() {
        assert!(scan(&format!("{{ {} }}", "a ".repeat(MAX_TOKENS - 2))).is_ok());
        assert!(refused(&"a ".repeat(1 << 19)).contains("tokens"));
        assert!(refused(&" ".repeat(1 << 20)).contains("blanks"));
        assert!(refused(&"#\n".repeat(1 << 19)).contains("blanks"));
        assert!(refused(&format!("{{ {} }}", "a".repeat(1 << 20))).contains("name"));
        assert!(refused(&format!("{{ a(b: -{}) }}", "1".repeat(1 << 20))).contains("number"));
        assert!(refused(&"@".repeat(1 << 20)).contains("tokens"));
        // A long text is one token.
        assert!(scan(&format!("{{ a(b: \"{}\") }}", "x".repeat(MAX_STRING_BYTES - 2))).is_ok());
        assert!(refused(&format!("{{ a(b: \"{}\") }}", "x".repeat(MAX_STRING_BYTES))).contains("variables"));
        assert!(refused(&format!("{{ a(b: [{}]) }}", "\"xxxxxxxxxxxxxxxxxx\" ".repeat(10_001))).contains("strings"));
    }
}
