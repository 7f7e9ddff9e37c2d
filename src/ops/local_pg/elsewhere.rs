//! The local server on platforms where it is not run: every call says so.

use std::path::Path;

use super::{Endpoint, Options};
use crate::ops::Failure;

/// A running server; on this platform there is none.
#[derive(Debug)]
pub enum LocalPg {}

impl LocalPg {
    /// # Errors
    /// Always: this platform is not supported.
    pub async fn start(_options: Options) -> Result<LocalPg, Failure> {
        Err(Failure::new("the program's own PostgreSQL runs on Unix only")
            .hint("Give DATABASE_URL of a PostgreSQL server, or run `docker compose up`."))
    }

    /// # Errors
    /// Never.
    pub async fn attach(_data_dir: &Path) -> Result<Option<Endpoint>, Failure> {
        Ok(None)
    }

    /// Address and credentials.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        match *self {}
    }

    /// Where the data lies.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        match *self {}
    }

    /// # Errors
    /// Never.
    pub async fn stop(self) -> Result<(), Failure> {
        match self {}
    }
}
