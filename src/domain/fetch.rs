//! Ports: one document at one fixed place, fetched anew each time it is asked for, and one place that JSON is sent to.

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

/// An answer to something that was sent.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Status of HTTP. Redirects are not followed and come back as they are.
    pub status: u16,
    /// The content, already bounded by whoever sent.
    pub body: Vec<u8>,
    /// How long the server wants to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
}

/// Where JSON is sent to. The place and its credentials are configuration; implementations bound size and time.
#[async_trait::async_trait]
pub trait Post: Send + Sync {
    /// Sends a JSON document and gives the answer, whatever its status.
    ///
    /// # Errors
    /// `InvalidArgument` when the place may not be reached or answers with more than may be, `Timeout`, and `Overloaded` when
    /// there was no answer.
    async fn post(&self, json: Vec<u8>) -> Result<Posted>;
}
