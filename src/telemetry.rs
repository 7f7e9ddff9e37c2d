//! The log: structured lines on stderr, and the ids that join an answer "Internal error" to its line.
//!
//! Metrics are served by the HTTP layer; nothing here knows what is being logged.

use std::{
    collections::BTreeMap,
    fmt, io,
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt, util::TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Starts the log of this process.
///
/// # Errors
/// When a log was started before.
pub fn init(config: &LogConfig) -> Result<(), TryInitError> {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&config.filter)).with_writer(io::stderr);
    match config.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}

/// Lines of the log that could come very often: each message has one within ten seconds, with the number of those left out.
pub struct Often(Mutex<BTreeMap<String, (Instant, u64)>>);

impl Often {
    const EVERY: Duration = Duration::from_secs(10);
    /// Different messages that are remembered.
    const MOST: usize = 100;

    /// Nothing was said yet.
    #[must_use]
    pub const fn new() -> Self {
        Often(Mutex::new(BTreeMap::new()))
    }

    /// Whether a message gets its line now, and how many were left out since the last one.
    pub fn line(&self, message: &str) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, left_out)) = said.get_mut(message) {
            if last.elapsed() < Self::EVERY {
                *left_out += 1;
                return None;
            }
            *last = Instant::now();
            return Some(std::mem::take(left_out));
        }
        if said.len() >= Self::MOST {
            said.clear();
        }
        said.insert(message.to_owned(), (Instant::now(), 0));
        Some(0)
    }
}

impl Default for Often {
    fn default() -> Self {
        Often::new()
    }
}

/// The id under which the cause of an internal error is found in the log: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A new random id.
#[must_use]
pub fn trace_id() -> TraceId {
    TraceId(rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_line_within_ten_seconds() {
        let often = Often::new();
        assert_eq!(["a", "a", "b", "a"].map(|message| often.line(message)), [Some(0), None, Some(0), None]);
        often.0.lock().unwrap().get_mut("a").unwrap().0 -= Often::EVERY;
        assert_eq!(often.line("a"), Some(2));
    }

    #[test]
    fn ids_are_sixteen_digits_and_differ() {
        assert_eq!(TraceId(10).to_string(), "000000000000000a");
        assert_ne!(trace_id(), trace_id());
    }
}
