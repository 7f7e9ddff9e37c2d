//! What operations mean: who is asking, what a viewer may list, how a share link is redeemed.
//!
//! Services name ports and `access`; how answers are batched is the business of the loaders, and how they look that of
//! `graphql`. Writing comes with its own files beside these.

pub mod attempts;
pub mod board;
pub mod share;
pub mod user;

use std::sync::Arc;

use crate::{
    access::{SecretHasher, Tokens},
    config::Environment,
    domain::ports::Reads,
};

use self::share::ShareGate;

/// What the API tells about the server it runs on.
#[derive(Clone, Debug)]
pub struct ServiceInfo {
    /// Version of the program.
    pub version: &'static str,
    /// Where it runs.
    pub environment: Environment,
    /// Whether writes are refused. This stage of the program has none to refuse.
    pub is_read_only: bool,
    /// Limits that clients should know.
    pub limits: crate::config::LimitsConfig,
}

/// Everything that the layers above ask for.
pub struct Services {
    reads: Arc<dyn Reads>,
    tokens: Tokens,
    shares: ShareGate,
    info: ServiceInfo,
}

impl Services {
    /// Puts the services over `reads`.
    #[must_use]
    pub fn new(reads: Arc<dyn Reads>, tokens: Tokens, hasher: SecretHasher, info: ServiceInfo) -> Self {
        Services { reads, tokens, shares: ShareGate::new(hasher), info }
    }

    /// What the API tells about the server.
    #[must_use]
    pub fn info(&self) -> &ServiceInfo {
        &self.info
    }
}
