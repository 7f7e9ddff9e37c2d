//! The log, which goes to stderr.
//!
//! | key in `[log]` | variable              | default                             |
//! |----------------|-----------------------|-------------------------------------|
//! | `filter`       | `RAGBOARD_LOG`        | `info`                              |
//! | `format`       | `RAGBOARD_LOG_FORMAT` | `text` in development, else `json`  |

use tracing_subscriber::EnvFilter;

use super::{
    Environment,
    reader::Reader,
    values::{Parsed, Word},
};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object per line.
    Json,
}

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Directives such as `info` or `info,ragboard::store=debug`; known to parse.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Self {
        let filter = Parsed::new("directives such as info or info,ragboard::store=debug", |text| {
            EnvFilter::try_new(text).ok().map(|_| text.to_owned())
        });
        let format = if environment == Environment::Development { LogFormat::Text } else { LogFormat::Json };
        LogConfig {
            filter: reader.value("log.filter", &["RAGBOARD_LOG"], &filter, "info".to_owned()),
            format: reader.value("log.format", &["RAGBOARD_LOG_FORMAT"], &Word(FORMATS), format),
        }
    }
}
