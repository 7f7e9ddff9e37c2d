//! Jobs that cut the text of a resource into chunks: milliseconds, and no model. Then its words can be found.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Beat, Handler};
use crate::{
    domain::{Job, JobType, Result},
    service::indexing::Indexing,
};

/// See the module.
pub struct ExtractText(pub Arc<Indexing>);

#[async_trait]
impl Handler for ExtractText {
    fn job_type(&self) -> JobType {
        JobType::ExtractText
    }

    fn batch(&self) -> usize {
        16
    }

    fn parallel(&self) -> usize {
        2
    }

    async fn run(&self, jobs: &[Job], _: &Beat) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(match job.node_id {
                Some(node) => self.0.cut(node, job.priority).await,
                None => Ok(()),
            });
        }
        results
    }
}
