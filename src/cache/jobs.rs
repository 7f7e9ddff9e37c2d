//! Jobs change without their board changing, so nothing of them is kept.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Cached, Source};
use crate::domain::{Job, JobId, Result, ports::JobReads};

#[async_trait]
impl<S: Source + Clone + 'static> JobReads for Cached<S> {
    async fn jobs(&self, ids: &[JobId]) -> Result<Vec<Option<Arc<Job>>>> {
        self.0.source.jobs(ids).await
    }
}
