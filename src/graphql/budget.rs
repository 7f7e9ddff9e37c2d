//! What an operation may still use while it runs: objects of lists and bytes of its answer.
//!
//! The admission counts a list at the size that is declared; here what really comes is counted. The budget also says when
//! an operation has worked for so long that others should have a turn. When it runs is not decided here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_graphql::{ContextSelectionSet, Value};

use super::scope::Session;
use crate::{
    config::LimitsConfig,
    domain::{Code, Error, Result},
};

/// Fields of rows that are resolved before others have a turn. Loaders collect within a turn, so this is rare.
const FIELDS_PER_TURN: u64 = 4_096;
/// What a number, a name or a mark is counted as, in bytes.
const SMALL: u64 = 8;

/// What an operation may still use.
#[derive(Debug)]
pub struct Budget {
    fields: AtomicU64,
    bytes: AtomicU64,
    max_fields: u64,
    max_bytes: u64,
}

impl Budget {
    /// All that one operation may use.
    #[must_use]
    pub fn new(limits: &LimitsConfig) -> Self {
        Budget {
            fields: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            max_fields: limits.max_query_cost,
            max_bytes: limits.max_answer_bytes as u64,
        }
    }

    /// A new one of the same size.
    pub(super) fn anew(&self) -> Self {
        Budget {
            fields: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            max_fields: self.max_fields,
            max_bytes: self.max_bytes,
        }
    }

    /// All of it again, for the next event of a stream.
    pub(super) fn renew(&self) {
        self.fields.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
    }

    /// The largest answer, in bytes.
    pub(super) fn max_bytes(&self) -> usize {
        usize::try_from(self.max_bytes).unwrap_or(usize::MAX)
    }

    /// Counts fields of rows that are resolved; whether others should have a turn now.
    ///
    /// # Errors
    /// `CostExceeded` when there are more than the operation may have.
    pub(super) fn take_fields(&self, count: usize) -> Result<bool> {
        let before = self.fields.fetch_add(count as u64, Relaxed);
        let now = before.saturating_add(count as u64);
        if now > self.max_fields {
            return Err(self.exceeded());
        }
        Ok(before / FIELDS_PER_TURN != now / FIELDS_PER_TURN)
    }

    /// Counts bytes of the answer before they are put there.
    ///
    /// # Errors
    /// `CostExceeded` when there are more than the operation may have.
    pub(super) fn take_bytes(&self, count: u64) -> Result<()> {
        if self.bytes.fetch_add(count, Relaxed).saturating_add(count) > self.max_bytes {
            return Err(self.exceeded());
        }
        Ok(())
    }

    /// Counts a value that is in the answer. Objects below it counted themselves.
    pub(super) fn take_value(&self, value: &Value) -> Result<()> {
        let bytes = match value {
            Value::String(text) => text.len() as u64,
            Value::List(values) => values.iter().map(|value| size_of_leaf(value).unwrap_or_default()).sum(),
            Value::Object(_) | Value::Binary(_) => 0,
            _ => SMALL,
        };
        self.take_bytes(bytes + SMALL)
    }

    /// Whether more was asked for than there is.
    pub(super) fn is_exceeded(&self) -> bool {
        self.fields.load(Relaxed) > self.max_fields || self.bytes.load(Relaxed) > self.max_bytes
    }

    /// Why the answer is not given.
    pub(super) fn exceeded(&self) -> Error {
        let message = format!(
            "The answer is larger than {} fields of lists or {} bytes; ask for less at once",
            self.max_fields, self.max_bytes
        );
        Error::new(Code::CostExceeded, message)
    }
}

fn size_of_leaf(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => Some(text.len() as u64),
        Value::Object(_) | Value::List(_) | Value::Binary(_) => None,
        _ => Some(SMALL),
    }
}

/// The budget of the operation that resolves this; `None` where a schema runs without a session.
pub(super) fn of<'a>(ctx: &'a ContextSelectionSet<'_>) -> Option<&'a Budget> {
    ctx.data_opt::<std::sync::Arc<Session>>().map(|session| session.budget.as_ref())
}

/// Bytes that a JSON value takes, more or less.
pub(super) fn size_of_json(value: &serde_json::Value) -> u64 {
    let (mut bytes, mut open) = (0, vec![value]);
    while let Some(value) = open.pop() {
        bytes += SMALL;
        match value {
            serde_json::Value::String(text) => bytes += text.len() as u64,
            serde_json::Value::Array(values) => open.extend(values),
            serde_json::Value::Object(fields) => {
                bytes += fields.keys().map(|name| name.len() as u64).sum::<u64>();
                open.extend(fields.values());
            }
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(fields: u64, bytes: u64) -> Budget {
        Budget { fields: AtomicU64::new(0), bytes: AtomicU64::new(0), max_fields: fields, max_bytes: bytes }
    }

    #[test]
    fn what_is_used_up_stays_so() {
        let budget = budget(10, 1_000);
        assert!(!budget.take_fields(10).unwrap() && !budget.is_exceeded());
        assert_eq!(budget.take_fields(1).unwrap_err().code(), Code::CostExceeded);
        assert!(budget.is_exceeded() && !budget.anew().is_exceeded());
    }

    #[test]
    fn texts_count_by_their_length() {
        let budget = budget(10, 1_000);
        assert!(budget.take_value(&Value::String("x".repeat(900))).is_ok());
        assert!(budget.take_value(&Value::List(vec![Value::String("x".repeat(100))])).is_err());
    }

    #[test]
    fn others_have_a_turn_now_and_then() {
        let budget = budget(u64::MAX, u64::MAX);
        let turns = (0..100).filter(|_| budget.take_fields(FIELDS_PER_TURN as usize / 10).unwrap()).count();
        assert!((9..=10).contains(&turns), "{turns}");
    }
}
