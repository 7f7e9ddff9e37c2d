//! PostgreSQL, through diesel: implements the ports of the domain with set-based SQL.
//!
//! `pool.rs` holds the one wrapper that every statement passes, `statement.rs` what a hand-written statement is, `batch.rs`
//! how many keys are answered at once; then one file per noun. Permission is not decided here.

mod account;
mod activity;
mod api_key;
mod batch;
mod board;
mod change;
mod chunk;
mod error;
mod event;
mod folder_lock;
mod generation;
mod import;
mod job;
mod keyset;
mod link;
pub mod migrations;
mod node;
mod node_list;
mod once;
mod pool;
mod presence;
mod read_only;
#[allow(missing_docs, unreachable_pub, reason = "generated; its comments come from COMMENT ON")]
pub mod schema;
mod search;
mod share;
mod sharing;
mod snapshot;
mod statement;
pub mod tls;
mod transaction;
mod usage;
mod user;
mod vector_index;
mod wire;

pub use import::BoardImport;
pub use pool::{PoolUse, StatementTotals, Store};
pub use vector_index::{IndexSession, VectorIndexes};
pub use wire::WakeWires;
