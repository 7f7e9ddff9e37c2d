//! The command line and what only operators need: serving, migrating, importing, the program's own PostgreSQL.

pub mod artifacts;
mod cli;
mod database;
mod demo;
pub mod embedder;
pub mod embeddings;
pub mod failure;
mod healthcheck;
pub mod import;
mod import_command;
pub mod index;
pub mod local_pg;
mod migrate;
mod progress;
mod read_only;
mod serve;
mod surroundings;
mod token;
mod worker;

pub use cli::main;
pub use failure::Failure;
