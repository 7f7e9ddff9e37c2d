//! The one integration test binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod access;
mod access_writes;
mod accounts;
mod architecture;
mod artifacts;
mod bad_input;
mod board_writes;
mod coherence;
mod command_line;
mod credentials;
mod database_rules;
mod database_tls;
mod endings;
mod follow;
mod graphiql;
mod import;
mod lists;
mod local_pg;
mod migrations;
mod outbound;
mod presence;
mod retention;
mod schema_file;
mod shares;
mod sharing;
mod statements;
mod store_errors;
mod support;
mod writes;
