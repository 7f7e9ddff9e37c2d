//! The board cache.
//!
//! | key in `[cache]`     | variable                      | default           |
//! |----------------------|-------------------------------|-------------------|
//! | `mode`               | `RAGBOARD_CACHE_MODE`         | `cached`          |
//! | `bytes`              | `RAGBOARD_CACHE_BYTES`        | 268435456, 256 MiB |
//! | `snapshot_max_nodes` | `RAGBOARD_SNAPSHOT_MAX_NODES` | 10000             |

use super::{
    reader::Reader,
    values::{Whole, Word},
};

/// When an answer may come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// While the process knows that it has caught up with the change log.
    Cached,
    /// After the board's version was checked in the database.
    Strict,
    /// Never.
    Off,
}

const MODES: &[(&str, CacheMode)] =
    &[("cached", CacheMode::Cached), ("strict", CacheMode::Strict), ("off", CacheMode::Off)];

/// The board cache.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// When an answer may come from memory.
    pub mode: CacheMode,
    /// Upper bound for everything cached, 1 MiB to 1 TiB.
    pub bytes: u64,
    /// Boards with more nodes are served without a snapshot, 0 to 1,000,000.
    pub snapshot_max_nodes: u32,
}

impl CacheConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let bytes = Whole(1 << 20..=1 << 40);
        let nodes = Whole(0..=1_000_000);
        CacheConfig {
            mode: reader.value("cache.mode", &["RAGBOARD_CACHE_MODE"], &Word(MODES), CacheMode::Cached),
            bytes: reader.value("cache.bytes", &["RAGBOARD_CACHE_BYTES"], &bytes, 256 << 20),
            snapshot_max_nodes: reader.value(
                "cache.snapshot_max_nodes",
                &["RAGBOARD_SNAPSHOT_MAX_NODES"],
                &nodes,
                10_000,
            ),
        }
    }
}
