//! Jobs that make the vectors of the chunks of a resource: seconds, at a model that may be busy. Several resources at once, because
//! models work better on many texts.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Beat, Handler};
use crate::{
    domain::{Job, JobType, NodeId, Result, job::is_passing},
    service::indexing::Indexing,
};

/// See the module.
pub struct CreateEmbeddings(pub Arc<Indexing>);

#[async_trait]
impl Handler for CreateEmbeddings {
    fn job_type(&self) -> JobType {
        JobType::CreateEmbeddings
    }

    fn batch(&self) -> usize {
        16
    }

    // One batch is written while the model works on another.
    fn parallel(&self) -> usize {
        2
    }

    async fn run(&self, jobs: &[Job], _: &Beat) -> Vec<Result<()>> {
        let nodes: Vec<NodeId> = jobs.iter().filter_map(|job| job.node_id).collect();
        match self.0.embed(&nodes).await {
            Ok(()) => jobs.iter().map(|_| Ok(())).collect(),
            // Whose text it is that the model cannot read shows one by one.
            Err(error) if !is_passing(&error) && nodes.len() > 1 => {
                let mut results = Vec::with_capacity(jobs.len());
                for job in jobs {
                    results.push(match job.node_id {
                        Some(node) => self.0.embed(&[node]).await,
                        None => Ok(()),
                    });
                }
                results
            }
            Err(error) => jobs.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}
