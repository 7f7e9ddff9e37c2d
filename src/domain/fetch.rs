//! A port: one document at one fixed place, fetched anew each time it is asked for.

use std::time::Duration;

use super::Result;

/// A document as it was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The content, already bounded by whoever fetched it.
    pub body: Vec<u8>,
    /// How long its publisher lets it be kept; zero forbids keeping. `None`: it does not say.
    pub max_age: Option<Duration>,
}

/// Where a document is. The place is configuration; implementations bound size and time.
#[async_trait::async_trait]
pub trait Fetch: Send + Sync {
    /// Fetches the document.
    async fn fetch(&self) -> Result<Fetched>;
}
