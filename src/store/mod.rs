//! PostgreSQL, through diesel: implements the ports of the domain with set-based SQL.
//!
//! `pool.rs` holds the one wrapper that every statement passes, `statement.rs` what a hand-written statement is, `batch.rs`
//! how many keys are answered at once; then one file per noun. Permission is not decided here.

mod account;
mod batch;
mod board;
mod change;
mod error;
mod event;
mod import;
mod keyset;
mod link;
pub mod migrations;
mod node;
mod node_list;
mod pool;
mod presence;
#[allow(missing_docs, unreachable_pub, reason = "generated; its comments come from COMMENT ON")]
pub mod schema;
mod share;
mod sharing;
mod snapshot;
mod statement;
pub mod tls;
mod user;

pub use import::BoardImport;
pub use pool::{PoolUse, StatementTotals, Store};
