//! The log: structured lines on stderr, and the ids that join an answer "Internal error" to its line.
//!
//! Metrics are served by the HTTP layer; nothing here knows what is being logged.

use std::{fmt, io, io::IsTerminal};

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
    fn ids_are_sixteen_digits_and_differ() {
        assert_eq!(TraceId(10).to_string(), "000000000000000a");
        assert_ne!(trace_id(), trace_id());
    }
}
