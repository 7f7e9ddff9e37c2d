//! What one request may ask for.
//!
//! | key in `[limits]`           | variable                             | default        |
//! |-----------------------------|--------------------------------------|----------------|
//! | `max_body_bytes`            | `RAGBOARD_MAX_BODY_BYTES`            | 1048576, 1 MiB |
//! | `max_held_bytes`            | `RAGBOARD_MAX_HELD_BYTES`            | 268435456, 256 MiB |
//! | `request_timeout_seconds`   | `RAGBOARD_REQUEST_TIMEOUT`           | 30             |
//! | `max_depth`                 | `RAGBOARD_MAX_DEPTH`                 | 16             |
//! | `max_query_cost`            | `RAGBOARD_MAX_QUERY_COST`            | 50000          |
//! | `max_aliases`               | `RAGBOARD_MAX_ALIASES`               | 100            |
//! | `max_document_nodes`        | `RAGBOARD_MAX_DOCUMENT_NODES`        | 5000           |
//! | `max_answer_bytes`          | `RAGBOARD_MAX_ANSWER_BYTES`          | 16777216, 16 MiB |
//! | `max_followers_per_address` | `RAGBOARD_MAX_FOLLOWERS_PER_ADDRESS` | 1000           |
//! | `max_connections`           | `RAGBOARD_MAX_CONNECTIONS`           | 32768          |
//! | `max_connections_per_address` | `RAGBOARD_MAX_CONNECTIONS_PER_ADDRESS` | `max_followers_per_address` and 256 |
//! | `max_operations`            | `RAGBOARD_MAX_OPERATIONS`            | 256            |
//! | `max_operations_per_caller` | `RAGBOARD_MAX_OPERATIONS_PER_CALLER` | 8              |
//! | `max_waiting_per_caller`    | `RAGBOARD_MAX_WAITING_PER_CALLER`    | 1000           |
//! | `sign_ups_per_hour`         | `RAGBOARD_SIGN_UPS_PER_HOUR`         | 20             |
//! | `invitations_per_hour`      | `RAGBOARD_INVITATIONS_PER_HOUR`      | 20             |

use std::time::Duration;

use super::{
    reader::Reader,
    values::{Seconds, Whole},
};

/// What one request may ask for.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Size of a request body, decompressed, 1 KiB to 1 GiB.
    pub max_body_bytes: usize,
    /// What requests may take in memory at the same time while they arrive, wait, run or follow, 1 MiB to 1 TiB. One
    /// address may have an eighth of it, and always room for four bodies of the largest size.
    pub max_held_bytes: usize,
    /// Time from the request, when it has arrived, to its answer.
    pub request_timeout: Duration,
    /// Size of the answer to one operation, before it is compressed, 64 KiB to 1 GiB.
    pub max_answer_bytes: usize,
    /// Levels of nested fields, 1 to 64.
    pub max_depth: u32,
    /// Declared cost of a whole operation.
    pub max_query_cost: u64,
    /// Aliased fields in a document.
    pub max_aliases: u32,
    /// Fields, arguments, fragments and values in a document, counted as they are written.
    pub max_document_nodes: u32,
    /// WebSockets and streams of events that one address may have open, 1 to 1000000.
    pub max_followers_per_address: u32,
    /// Connections in total, 2 to 1000000; the descriptors of the process may allow fewer.
    pub max_connections: u32,
    /// Connections from one address, 1 to 1000000; from one /48 of IPv6 eight times as many. Either has at most half of
    /// all. Trusted proxies may have more.
    pub max_connections_per_address: u32,
    /// Operations that run at the same time, 1 to 100000.
    pub max_operations: u32,
    /// Operations of one caller (an account, or else an address) that run at the same time, 1 to 100000.
    pub max_operations_per_caller: u32,
    /// Operations of one caller that wait until others of it are done, 0 to 100000; more are refused.
    pub max_waiting_per_caller: u32,
    /// Attempts to make an account from one address within an hour, 1 to 1000000.
    pub sign_ups_per_hour: u32,
    /// Invitations that one account may send within an hour, 1 to 1000000; from one address five times as many.
    pub invitations_per_hour: u32,
}

impl LimitsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let max_followers_per_address = reader.value(
            "limits.max_followers_per_address",
            &["RAGBOARD_MAX_FOLLOWERS_PER_ADDRESS"],
            &Whole(1..=1_000_000),
            1000,
        );
        LimitsConfig {
            max_body_bytes: reader.value(
                "limits.max_body_bytes",
                &["RAGBOARD_MAX_BODY_BYTES"],
                &Whole(1 << 10..=1 << 30),
                1 << 20,
            ),
            max_held_bytes: reader.value(
                "limits.max_held_bytes",
                &["RAGBOARD_MAX_HELD_BYTES"],
                &Whole(1 << 20..=1 << 40),
                256 << 20,
            ),
            request_timeout: reader.value(
                "limits.request_timeout_seconds",
                &["RAGBOARD_REQUEST_TIMEOUT"],
                &Seconds(0.1..=3600.0),
                Duration::from_secs(30),
            ),
            max_depth: reader.value("limits.max_depth", &["RAGBOARD_MAX_DEPTH"], &Whole(1..=64), 16),
            max_query_cost: reader.value(
                "limits.max_query_cost",
                &["RAGBOARD_MAX_QUERY_COST"],
                &Whole(1..=1_000_000_000),
                50_000,
            ),
            max_aliases: reader.value("limits.max_aliases", &["RAGBOARD_MAX_ALIASES"], &Whole(0..=10_000), 100),
            max_document_nodes: reader.value(
                "limits.max_document_nodes",
                &["RAGBOARD_MAX_DOCUMENT_NODES"],
                &Whole(1..=1_000_000),
                5000,
            ),
            max_answer_bytes: reader.value(
                "limits.max_answer_bytes",
                &["RAGBOARD_MAX_ANSWER_BYTES"],
                &Whole(64 << 10..=1 << 30),
                16 << 20,
            ),
            max_followers_per_address,
            max_connections: reader.value(
                "limits.max_connections",
                &["RAGBOARD_MAX_CONNECTIONS"],
                &Whole(2..=1_000_000),
                32_768,
            ),
            max_connections_per_address: reader.value(
                "limits.max_connections_per_address",
                &["RAGBOARD_MAX_CONNECTIONS_PER_ADDRESS"],
                &Whole(1..=1_000_000),
                (max_followers_per_address + 256).min(1_000_000),
            ),
            max_operations: reader.value(
                "limits.max_operations",
                &["RAGBOARD_MAX_OPERATIONS"],
                &Whole(1..=100_000),
                256,
            ),
            max_operations_per_caller: reader.value(
                "limits.max_operations_per_caller",
                &["RAGBOARD_MAX_OPERATIONS_PER_CALLER"],
                &Whole(1..=100_000),
                8,
            ),
            max_waiting_per_caller: reader.value(
                "limits.max_waiting_per_caller",
                &["RAGBOARD_MAX_WAITING_PER_CALLER"],
                &Whole(0..=100_000),
                1000,
            ),
            sign_ups_per_hour: reader.value(
                "limits.sign_ups_per_hour",
                &["RAGBOARD_SIGN_UPS_PER_HOUR"],
                &Whole(1..=1_000_000),
                20,
            ),
            invitations_per_hour: reader.value(
                "limits.invitations_per_hour",
                &["RAGBOARD_INVITATIONS_PER_HOUR"],
                &Whole(1..=1_000_000),
                20,
            ),
        }
    }
}
