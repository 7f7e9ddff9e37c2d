//! RAGBOARD's GraphQL gateway: one schema over PostgreSQL and pgvector.
//!
//! The way of a request is `http → graphql → service → (loaders, cache) → store`; `docs/architecture.md` has the map of
//! the folders and `tests/architecture.rs` keeps the arrows pointing one way.

pub mod access;
pub mod app;
pub mod cache;
pub mod config;
pub mod domain;
pub mod events;
pub mod graphql;
pub mod http;
pub mod jobs;
pub mod loaders;
pub mod mail;
pub mod ops;
pub mod outbound;
pub mod search;
pub mod service;
pub mod store;
pub mod telemetry;
