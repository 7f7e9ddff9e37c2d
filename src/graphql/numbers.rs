//! Numbers of a request that would lose digits: a number is kept as a 64-bit integer or a double, and what is longer is
//! rounded when it is read.
//!
//! Where a Float is asked for, rounding is what a double means. Free data (`metadata` and the like) is kept for its owner
//! and handed out again, so a number there keeps its digits or is refused. Both parsers round before anybody can object,
//! which is why the text of the request is looked at.

use std::{collections::HashSet, sync::Arc};

use async_graphql::{Number, Request};

/// The doubles that numbers of a request were rounded to.
pub(super) struct LossyNumbers {
    /// Those in the text of the request, which is one for all of a batch.
    of_text: Arc<HashSet<u64>>,
    of_document: HashSet<u64>,
}

impl LossyNumbers {
    /// Whether this number may have been another one in the request.
    pub(super) fn contains(&self, number: &Number) -> bool {
        let is_lossy = |bits: u64| self.of_text.contains(&bits) || self.of_document.contains(&bits);
        !number.is_i64() && !number.is_u64() && number.as_f64().is_some_and(|value| is_lossy(value.to_bits()))
    }
}

/// Notes in requests which of their numbers were rounded while they were read from this text.
pub fn note_numbers(requests: &mut [Request], text: &[u8]) {
    let lossy = |text: &[u8]| -> HashSet<u64> { tokens(text).filter_map(rounded).map(f64::to_bits).collect() };
    let of_text = Arc::new(lossy(text));
    for request in requests {
        // The document is a string in the text, in which letters and digits may be escaped.
        let of_document = lossy(request.query.as_bytes());
        if !of_text.is_empty() || !of_document.is_empty() {
            request.data.insert(LossyNumbers { of_text: Arc::clone(&of_text), of_document });
        }
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-')
}

/// Everything that may be a number, wherever it stands. What is none is not read as one afterwards.
fn tokens(text: &[u8]) -> impl Iterator<Item = &str> {
    let words = text.split(|byte| !is_of_word(*byte));
    words
        .filter(|word| word.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-'))
        .filter_map(|word| std::str::from_utf8(word).ok())
}

/// A decimal number: its sign, its digits without zeros around them, and the power of ten that they are multiplied by.
type Decimal = (bool, String, i64);

fn decimal(token: &str) -> Option<Decimal> {
    let (is_negative, token) = token.strip_prefix('-').map_or((false, token), |token| (true, token));
    let (digits, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Beyond the range of 64 bits no double is near.
    let exponent: i64 = exponent.parse().ok()?;
    let digits = format!("{whole}{fraction}");
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((is_negative, String::new(), 0));
    }
    let exponent = exponent.checked_add(i64::try_from(digits.len() - significant.len()).ok()?)?;
    Some((is_negative, significant.to_owned(), exponent))
}

/// The double that a number is rounded to, if that is another number. It is written with the fewest digits that name it, so
/// a number that reads otherwise would come back with other digits.
fn rounded(token: &str) -> Option<f64> {
    // Fifteen digits are fewer than a double tells apart. This is what almost all numbers are.
    let is_short = token.len() <= 15 && token.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_short {
        return None;
    }
    let is_whole = token.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    if is_whole && token != "-0" && (token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok()) {
        return None;
    }
    let value: f64 = token.parse().ok()?;
    // Out of range: the parsers refuse it.
    if !value.is_finite() {
        return None;
    }
    // PostgreSQL has no negative zero.
    let is_kept = value.to_bits() != (-0.0_f64).to_bits() && decimal(token) == decimal(&format!("{value:e}"));
    (!is_kept).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::{note_numbers, rounded, tokens};

    #[test]
    fn numbers_that_come_back_as_they_are_are_kept() {
        for token in [
            "0",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "0.1",
            "0.10",
            "1.0",
            "1e2",
            "1E+2",
            "100000000000000000000",
            "1e22",
            "1.5e-7",
            "5e-324",
            "1.7976931348623157e308",
            "0.30000000000000004",
            "0.0",
            "0e9",
            "-2.50",
            "123456789012345680",
        ] {
            assert_eq!(rounded(token), None, "{token}");
        }
    }

    #[test]
    fn others_are_not() {
        for token in [
            "12345678901234567890123",
            "123456789012345678.25",
            "-9223372036854775809",
            "18446744073709551616",
            "0.1234567890123456789",
            "-0",
            "-0.0",
            "-0e5",
            "1e-400",
            "4e-324",
            "0.10000000000000001",
            "1e-99999999999999999999",
            "36893488147419103232",
        ] {
            assert!(rounded(token).is_some(), "{token}");
        }
        // Not numbers, or refused where they are read.
        for token in ["1e400", "2026-11-30", "1.2.3", "-", "1e", "12ab", "-x"] {
            assert_eq!(rounded(token), None, "{token}");
        }
    }

    #[test]
    fn they_are_found_wherever_they_stand() {
        let text = br#"{"a":[0.5,-9223372036854775809],"node_1":"x","b":{"c":1e-400 },"d":7}"#;
        let found: Vec<_> = tokens(text).collect();
        assert_eq!(found, ["0.5", "-9223372036854775809", "1e-400", "7"]);
        let mut request = async_graphql::Request::new("{ a(b: 0.1234567890123456789) }");
        // The digits of the document may be escaped in the text.
        note_numbers(std::slice::from_mut(&mut request), br#"{"query":"{ a(b: \u0030.1234567890123456789) }"}"#);
        assert!(request.data.get(&std::any::TypeId::of::<super::LossyNumbers>()).is_some());
    }

    #[test]
    fn long_texts_take_linear_time() {
        let digits = "1234567890".repeat(100_000);
        let value = rounded(&format!("0.{digits}"));
        assert!(value.is_some());
    }
}
