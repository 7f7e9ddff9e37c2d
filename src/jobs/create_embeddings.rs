//! Jobs that make the vectors of the chunks of a resource: seconds, at a model that may be busy. Several resources at once, because
//! models work better on many texts.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{Beat, Handler};
use crate::{
    domain::{BoardId, Job, JobType, NodeId, Result, job::is_passing},
    service::indexing::Indexing,
};

/// Boards of a batch whose texts are embedded at the same time; each takes a connection now and then.
const BOARDS_AT_ONCE: usize = 4;

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

    fn is_slow(&self) -> bool {
        true
    }

    async fn run(&self, jobs: &[Job], _: &Beat) -> Vec<Result<()>> {
        // Each board for itself: the one text of a board is not kept waiting by the many of another.
        let mut boards: Vec<BoardId> = jobs.iter().map(|job| job.board_id).collect();
        boards.sort_unstable();
        boards.dedup();
        let embedded = boards.into_iter().map(|board| {
            let of_board = jobs.iter().enumerate().filter(|(_, job)| job.board_id == board);
            let (places, jobs): (Vec<usize>, Vec<&Job>) = of_board.unzip();
            async move { places.into_iter().zip(self.embed(&jobs).await).collect::<Vec<_>>() }
        });
        let results: Vec<Vec<(usize, Result<()>)>> =
            stream::iter(embedded).buffer_unordered(BOARDS_AT_ONCE).collect().await;
        let mut results: Vec<(usize, Result<()>)> = results.into_iter().flatten().collect();
        results.sort_unstable_by_key(|(place, _)| *place);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl CreateEmbeddings {
    async fn embed(&self, jobs: &[&Job]) -> Vec<Result<()>> {
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
