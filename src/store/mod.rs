//! PostgreSQL, through diesel: implements the ports of the domain with set-based SQL.
//!
//! `pool.rs` holds the one wrapper that every statement passes, `lent.rs` a connection in use, `statement.rs` what a hand-written statement is, `batch.rs`
//! how many keys are answered at once; then one file per noun. Permission is not decided here.

mod account;
mod activity;
mod api_key;
mod batch;
mod board;
mod board_lists;
mod board_turns;
mod change;
mod chunk;
mod error;
mod event;
mod expired;
mod folder_lock;
mod generation;
mod import;
mod job;
mod keyset;
mod lent;
mod link;
mod mail;
pub mod migrations;
mod node;
mod node_list;
mod once;
mod outage;
mod password;
mod pool;
mod presence;
mod quota;
mod read_only;
mod reserved;
#[allow(missing_docs, unreachable_pub, reason = "generated; its comments come from COMMENT ON")]
pub mod schema;
mod search;
mod session;
mod share;
mod sharing;
mod snapshot;
mod statement;
mod surroundings;
pub mod tls;
mod transaction;
mod usage;
mod user;
mod vector_index;
mod verification;
mod wire;

pub use pool::{PoolUse, StatementTotals, Store};
pub use surroundings::{Surroundings, surroundings};
pub use vector_index::{IndexSession, VectorIndexes};
pub use wire::WakeWires;
