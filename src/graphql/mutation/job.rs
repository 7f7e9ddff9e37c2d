//! Mutations of background jobs.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    super::{job::ProcessingJob, scope::Session},
    Writing, board_of,
    input::WriteOptions,
    payload::{Refused, payload},
    read_id,
};
use crate::domain::{self, NodeId, Outcome};

payload!(
    /// A job was asked for, cancelled or is tried again.
    JobPayload {
        /// The job.
        job: Option<ProcessingJob>,
    }
);

/// A resource that is to be read again.
#[derive(InputObject)]
pub(super) struct ReprocessResourceInput {
    /// The resource, `node_…`.
    id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A job.
#[derive(InputObject)]
pub(super) struct JobInput {
    /// The job, `job_…`.
    id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

impl Writing {
    async fn job(self, outcome: Outcome<std::sync::Arc<domain::Job>>) -> Result<JobPayload> {
        let outcome = self.settled(outcome).await?;
        let session = self.afterwards();
        let client_mutation_id = self.client_mutation_id;
        Ok(match outcome {
            Ok(job) => {
                let job = ProcessingJob::of(&session, job).await?;
                JobPayload { job, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => JobPayload::refused(client_mutation_id, error),
        })
    }
}

#[derive(Default)]
pub(super) struct JobMutations;

/// Mutations of background jobs.
#[Object]
impl JobMutations {
    /// Has the text of a resource prepared for search again, although it has not changed: chunks and vectors. Changes of a text
    /// do this by themselves. The job is one that was pending already, if there is one.
    async fn reprocess_resource(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The resource.")] input: ReprocessResourceInput,
    ) -> Result<JobPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let place = async {
            let node: NodeId = read_id("id", &input.id)?;
            Ok((board_of(&writing.session, "id", node).await??, node))
        };
        let outcome = match place.await {
            Ok(place) => services.reprocess_resource(viewer, place, writing.options.clone()).await,
            Err(failure) => Err(failure),
        };
        writing.job(outcome).await
    }

    /// Cancels a job that is pending or running. One that runs stops within some seconds; what it has done until then stays.
    async fn cancel_job(&self, ctx: &Context<'_>, #[graphql(desc = "The job.")] input: JobInput) -> Result<JobPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("id", &input.id) {
            Ok(id) => services.cancel_job(viewer, id, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        writing.job(outcome).await
    }

    /// Has a job that failed or was cancelled tried again at once, with all its attempts.
    async fn retry_job(&self, ctx: &Context<'_>, #[graphql(desc = "The job.")] input: JobInput) -> Result<JobPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("id", &input.id) {
            Ok(id) => services.retry_job(viewer, id, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        writing.job(outcome).await
    }
}
