//! Jobs that make the vectors of the chunks of a resource: seconds, at a model that may be busy. Several resources at once, because
//! models work better on many texts, and of each only a slice: a long text takes minutes, and others wait.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{Beat, Handler};
use crate::{
    domain::{Job, JobType, NodeId, Result, UserId, job::is_passing},
    service::indexing::Indexing,
};

/// Accounts of a batch whose texts are embedded at the same time; each takes a connection now and then.
const ACCOUNTS_AT_ONCE: usize = 4;
/// Chunks that a batch embeds before the next one is claimed, shared out evenly between its accounts: a second or two of a model on
/// one core. Whoever writes meanwhile waits for no more than that.
const SLICE: usize = 16;

/// See the module.
pub struct CreateEmbeddings(pub Arc<Indexing>);

#[async_trait]
impl Handler for CreateEmbeddings {
    fn job_type(&self) -> JobType {
        JobType::CreateEmbeddings
    }

    fn batch(&self) -> usize {
        SLICE
    }

    // One batch is written while the model works on another.
    fn parallel(&self) -> usize {
        2
    }

    fn is_slow(&self) -> bool {
        true
    }

    async fn run(&self, jobs: &[Job], beat: &Beat) -> Vec<Result<()>> {
        // Each account for itself: the one text of an account is not kept waiting by the many of another.
        let mut owners: Vec<Option<UserId>> = jobs.iter().map(|job| job.owner_id).collect();
        owners.sort_unstable();
        owners.dedup();
        let share = SLICE / owners.len().max(1);
        let embedded = owners.into_iter().map(|owner| {
            let of_owner = jobs.iter().enumerate().filter(|(_, job)| job.owner_id == owner);
            let (places, jobs): (Vec<usize>, Vec<&Job>) = of_owner.unzip();
            let share = share.max(jobs.len());
            async move { places.into_iter().zip(self.embed(owner, &jobs, share, beat).await).collect::<Vec<_>>() }
        });
        let results: Vec<Vec<(usize, Result<()>)>> =
            stream::iter(embedded).buffer_unordered(ACCOUNTS_AT_ONCE).collect().await;
        let mut results: Vec<(usize, Result<()>)> = results.into_iter().flatten().collect();
        results.sort_unstable_by_key(|(place, _)| *place);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl CreateEmbeddings {
    /// Embeds a slice of what the jobs of an account are about.
    async fn embed(&self, owner: Option<UserId>, jobs: &[&Job], share: usize, beat: &Beat) -> Vec<Result<()>> {
        let nodes: Vec<NodeId> = jobs.iter().filter_map(|job| job.node_id).collect();
        match self.0.embed_slice(owner, &nodes, share).await {
            Ok(left) => {
                tell(jobs, &left, beat);
                jobs.iter().map(|_| Ok(())).collect()
            }
            // Whose text it is that the model cannot read shows one by one.
            Err(error) if !is_passing(&error) && nodes.len() > 1 => {
                let mut results = Vec::with_capacity(jobs.len());
                for job in jobs {
                    let Some(node) = job.node_id else {
                        results.push(Ok(()));
                        continue;
                    };
                    let embedded = self.0.embed_slice(owner, &[node], share).await;
                    results.push(embedded.map(|left| tell(&[job], &left, beat)));
                }
                results
            }
            Err(error) => jobs.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

/// Says of which jobs something is left.
fn tell(jobs: &[&Job], left: &HashMap<NodeId, f32>, beat: &Beat) {
    for job in jobs {
        if let Some(part) = job.node_id.and_then(|node| left.get(&node)) {
            beat.slice_done(job.id, *part);
        }
    }
}
