//! Jobs that cut the text of a resource into chunks: milliseconds, or seconds for a long text, and no model. Then its words can be
//! found.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Beat, Handler};
use crate::{
    domain::{Job, JobType, NodeId, Result, job::IMPORT_PRIORITY},
    service::indexing::{Indexing, LONG_TEXT_BYTES},
};

/// As how much text a copy counts.
const COPY_BYTES: usize = LONG_TEXT_BYTES / 2;
/// Bytes of text after which a batch begins no other one: about a second.
const MAX_BATCH_BYTES: usize = 4 * LONG_TEXT_BYTES;

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

    // A long text takes seconds, and does so behind the edits of everybody.
    fn is_slow(&self) -> bool {
        true
    }

    async fn run(&self, jobs: &[Job], beat: &Beat) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(jobs.len());
        let mut bytes = 0;
        for job in jobs {
            if bytes > MAX_BATCH_BYTES {
                beat.not_begun(job.id);
                results.push(Ok(()));
                continue;
            }
            results.push(match job.node_id {
                Some(node) => self.cut(job, node, beat).await.map(|cut| bytes += cut),
                None => Ok(()),
            });
        }
        results
    }
}

impl ExtractText {
    /// Cuts a text and says how many bytes it had. A long one that came among the edits is left for the lane of bulk work.
    async fn cut(&self, job: &Job, node: NodeId, beat: &Beat) -> Result<usize> {
        if let Some(original) = job.copy_of()
            && !job.is_forced()
            && self.0.copy(original, node).await?
        {
            return Ok(COPY_BYTES);
        }
        let most = if job.priority > IMPORT_PRIORITY { Some(LONG_TEXT_BYTES) } else { None };
        let cut = self.0.cut_up_to(node, job.priority, most).await?;
        if cut.is_none() {
            beat.slice_done(job.id, 0.0);
        }
        Ok(cut.unwrap_or_default())
    }
}
