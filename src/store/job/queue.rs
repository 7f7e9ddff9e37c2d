//! What workers do with jobs: claiming, beating, ending, taking back. One statement each, so none needs a transaction of its
//! own, and none waits for another: who claims skips what is locked.

use std::time::Duration;

use diesel::sql_types::{Array, Bool, Double, Float, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{JOB_COLUMNS, JobRow, JobSql, ONCE_PENDING, jobs_from};
use crate::{
    domain::{
        Ending, Job, JobClaim, JobId, Result,
        job::{IMPORT_PRIORITY, is_passing, wait_before_retry},
    },
    store::{Store, error::constraint_of, statement::Statement},
};

/// How often an ending is tried while others ask for the same work in the same moment.
const ENDING_ATTEMPTS: usize = 5;

/// Who gets how much is decided by the function, in the database: it takes a few probes of an index for each account, one after
/// the other, and costs the same however much waits.
fn claimed(claim: &JobClaim) -> Statement<JobSql> {
    let (owners, boards): (Vec<Uuid>, Vec<Uuid>) =
        claim.turns.boards.iter().map(|(owner, board)| (owner.0, board.0)).unzip();
    Statement::new("jobs.claim")
        .sql("SELECT ")
        .sql(JOB_COLUMNS)
        .sql(" FROM claim_jobs(")
        .bind::<Text, _>(claim.job_type.as_str())
        .sql("::text::job_type, ")
        .bind::<Integer, _>(claim.least_priority)
        .sql(", ")
        .bind::<Integer, _>(i32::try_from(claim.most.max(1)).unwrap_or(i32::MAX))
        .sql(", ")
        .bind::<Text, _>(claim.worker.clone())
        .sql(", ")
        .bind::<Nullable<SqlUuid>, _>(claim.turns.owner.map(|owner| owner.0))
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(owners)
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(boards)
        .sql(") AS j")
}

/// Adds what becomes of the jobs `e` (id, kind, message, result, wait in seconds, progress) that are joined as `j`.
fn ended(
    statement: Statement<JobSql>,
    those: impl FnOnce(Statement<JobSql>) -> Statement<JobSql>,
) -> Statement<JobSql> {
    let statement = statement.sql(
        "WITH ended AS MATERIALIZED (SELECT j.id, e.kind, e.message, e.result, e.wait, e.progress, j.status = 'running' AS ran, CASE \
            WHEN j.status <> 'running' THEN j.status \
            WHEN e.kind = 'done' THEN 'completed' \
            WHEN e.kind IN ('failed', 'lost') AND j.attempts >= j.max_attempts THEN 'failed' \
            WHEN e.kind = 'passing' AND j.postponed >= 4 * j.max_attempts THEN 'failed' \
            WHEN EXISTS (SELECT FROM processing_jobs o WHERE o.status = 'pending' AND o.job_type = j.job_type \
                AND o.resource_id = j.resource_id) THEN 'cancelled' \
            ELSE 'pending' END::job_status AS status ",
    );
    those(statement)
        .sql(
            " ORDER BY j.id FOR UPDATE OF j) \
             UPDATE processing_jobs j SET status = e.status, worker = NULL, heartbeat_at = NULL, \
             attempts = j.attempts - CASE WHEN e.ran AND e.kind IN ('passing', 'back', 'sliced') THEN 1 ELSE 0 END, \
             postponed = j.postponed + CASE WHEN e.ran AND e.kind = 'passing' THEN 1 ELSE 0 END, \
             progress = CASE WHEN e.status = 'completed' THEN 1 WHEN e.status = 'pending' AND e.kind <> 'sliced' THEN 0 \
                ELSE greatest(j.progress, e.progress) END, \
             error_message = CASE WHEN e.status = 'completed' THEN NULL \
                WHEN e.ran AND e.status = 'cancelled' THEN 'Another job for the same node follows' \
                ELSE coalesce(e.message, j.error_message) END, \
             result = CASE e.status WHEN 'completed' THEN e.result ELSE j.result END, \
             scheduled_for = CASE WHEN e.status = 'pending' AND e.kind NOT IN ('back', 'sliced') \
                THEN now() + make_interval(secs => e.wait) ELSE j.scheduled_for END, \
             priority = CASE WHEN e.status = 'pending' AND e.kind = 'sliced' THEN least(j.priority, ",
        )
        .bind::<Integer, _>(IMPORT_PRIORITY)
        .sql(
            ") ELSE j.priority END, \
             completed_at = CASE WHEN e.status <> 'pending' THEN coalesce(j.completed_at, now()) END, \
             changed_at = CASE WHEN e.ran THEN clock_timestamp() ELSE j.changed_at END \
             FROM ended e WHERE j.id = e.id RETURNING ",
        )
        .sql(JOB_COLUMNS)
}

/// How an ending is told to the database.
fn told((job, ending): &(Job, Ending)) -> Value {
    let times = u32::try_from(job.attempts.saturating_add(job.postponed)).unwrap_or(1);
    let wait = wait_before_retry(times, rand::random()).as_secs_f64();
    let (kind, message, result, wait) = match ending {
        Ending::Done(result) => ("done", None, result.clone(), 0.0),
        Ending::Failed(error) if is_passing(error) => ("passing", Some(error.message()), None, wait),
        Ending::Failed(error) => ("failed", Some(error.message()), None, wait),
        Ending::GivenBack => ("back", None, None, 0.0),
        Ending::Sliced(_) => ("sliced", None, None, 0.0),
    };
    let progress = match ending {
        Ending::Sliced(progress) => Some(progress.clamp(0.0, 1.0)),
        _ => None,
    };
    // Null is no result, not a result that says null.
    let mut row = json!({ "id": job.id.0, "kind": kind, "message": message, "wait": wait, "progress": progress });
    if let (Some(result), Some(row)) = (result, row.as_object_mut()) {
        row.insert("result".to_owned(), result);
    }
    row
}

impl Store {
    pub(super) async fn claim_jobs(&self, claim: &JobClaim) -> Result<Vec<Job>> {
        let mut connection = self.connection().await?;
        // Not tried again where the connection was lost: what was claimed then is taken back later.
        let rows: Vec<JobRow> = self.run(&mut connection, claimed(claim)).await?;
        let mut jobs = jobs_from(rows)?;
        jobs.sort_by_key(|job| (job.scheduled_for, job.id));
        Ok(jobs)
    }

    pub(super) async fn beat_jobs(&self, worker: &str, progress: &[(JobId, f32)]) -> Result<Vec<JobId>> {
        let ids: Vec<Uuid> = progress.iter().map(|(id, _)| id.0).collect();
        let parts: Vec<f32> = progress.iter().map(|(_, part)| part.clamp(0.0, 1.0)).collect();
        let rows: Vec<(Uuid, bool)> = self
            .fetch(|| {
                Statement::<(SqlUuid, Bool)>::new("jobs.beat")
                    .sql("WITH told AS MATERIALIZED (SELECT t.id, t.progress FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(ids.clone())
                    .sql(", ")
                    .bind::<Array<Float>, _>(parts.clone())
                    .sql(
                        ") AS t (id, progress)) UPDATE processing_jobs j SET heartbeat_at = clock_timestamp(), \
                         progress = coalesce((SELECT t.progress FROM told t WHERE t.id = j.id), j.progress), \
                         changed_at = CASE WHEN EXISTS (SELECT FROM told t WHERE t.id = j.id AND t.progress <> j.progress) \
                         THEN clock_timestamp() ELSE j.changed_at END \
                         WHERE j.worker IS NOT NULL AND j.worker = ",
                    )
                    .bind::<Text, _>(worker.to_owned())
                    .sql(" RETURNING j.id, j.status = 'running'")
            })
            .await?;
        Ok(rows.into_iter().filter(|(_, runs)| *runs).map(|(id, _)| JobId(id)).collect())
    }

    pub(super) async fn settle_jobs(&self, worker: &str, endings: &[(Job, Ending)]) -> Result<Vec<Job>> {
        let told: Value = endings.iter().map(told).collect();
        self.ending(|| {
            ended(Statement::new("jobs.settle"), |statement| {
                statement
                    .sql("FROM jsonb_to_recordset(")
                    .bind::<Jsonb, _>(told.clone())
                    .sql(
                        ") AS e (id uuid, kind text, message text, result jsonb, wait double precision, progress real) \
                         JOIN processing_jobs j ON j.id = e.id AND j.worker = ",
                    )
                    .bind::<Text, _>(worker.to_owned())
            })
        })
        .await
    }

    pub(super) async fn recover_jobs(&self, silent_for: Duration) -> Result<Vec<Job>> {
        self.ending(|| {
            ended(Statement::new("jobs.recover"), |statement| {
                statement
                    .sql(
                        "FROM (SELECT 'lost' AS kind, 'The program that worked on it was lost' AS message, \
                         NULL::jsonb AS result, 0::double precision AS wait, NULL::real AS progress) AS e JOIN processing_jobs j \
                         ON j.worker IS NOT NULL AND j.heartbeat_at < clock_timestamp() - make_interval(secs => ",
                    )
                    .bind::<Double, _>(silent_for.as_secs_f64())
                    .sql(")")
            })
        })
        .await
    }

    /// Runs a statement that ends tries. Ending a try twice is ending it once, so it may be tried again.
    async fn ending(&self, statement: impl Fn() -> Statement<JobSql>) -> Result<Vec<Job>> {
        let mut attempts_left = ENDING_ATTEMPTS;
        loop {
            attempts_left -= 1;
            match self.fetch(&statement).await {
                // Somebody asked for the same work in this moment, which the next try sees.
                Err(error) if attempts_left > 0 && constraint_of(&error) == Some(ONCE_PENDING) => {}
                rows => return jobs_from(rows?),
            }
        }
    }
}
