//! Adapters for search: models that turn texts into vectors, cutting texts into chunks for them, and which index fits.
//!
//! They stand behind the ports of `domain`; which of them is used is decided where the parts are put together. No SQL is here.

pub mod chunker;
pub mod cutter;
pub mod embedder;
pub mod models;
pub mod vector_index;
