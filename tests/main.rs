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
mod activity;
mod api_keys;
mod architecture;
mod artifacts;
mod bad_input;
mod batches;
mod board_writes;
mod clients;
mod coherence;
mod command_line;
mod connections;
mod copied_texts;
mod crash;
mod credentials;
mod database_rules;
mod database_tls;
mod embedding;
mod embedding_queue;
mod embedding_server;
mod embedding_turns;
mod endings;
mod expired;
mod folder_locks;
mod follow;
mod generations;
mod graphiql;
mod history;
mod hostile;
mod idempotency;
mod import;
mod import_again;
mod import_edits;
mod import_guard;
mod import_slices;
mod jobs;
mod lanes;
mod languages;
mod lists;
mod local_pg;
mod mail;
mod migrations;
mod outbound;
mod outside_changes;
mod passwords;
mod power_cut;
mod presence;
mod quotas;
mod read_only;
mod refreshing;
mod relay;
mod retention;
mod roles;
mod schema_file;
mod schema_rs;
mod search;
mod search_truth;
mod sessions;
mod shares;
mod sharing;
mod starting;
mod statements;
mod stopping;
mod store_errors;
mod storms;
mod support;
mod turns;
mod vector_indexes;
mod writes;
