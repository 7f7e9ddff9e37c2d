//! What the integration tests share. Not tests themselves.

#![allow(dead_code, reason = "not every helper is used on every platform")]

pub(crate) mod app;
pub(crate) mod artifact_cache;
pub(crate) mod cluster;
pub(crate) mod embedding_server;
pub(crate) mod fixture;
pub(crate) mod library;
pub(crate) mod mail_server;
pub(crate) mod model;
pub(crate) mod patience;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod socket;
pub(crate) mod sql;
