//! What workers do with jobs: claiming, beating, ending, taking back. One statement each, so none needs a transaction of its
//! own, and none waits for another: who claims skips what is locked.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Bool, Double, Float, Integer, Jsonb, Text, Uuid as SqlUuid};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{JOB_COLUMNS, JobRow, JobSql, ONCE_PENDING, jobs_from};
use crate::{
    domain::{
        Ending, Job, JobClaim, JobId, Result,
        job::{is_passing, wait_before_retry},
    },
    store::{Store, error::constraint_of, statement::Statement},
};

/// How often an ending is tried while others ask for the same work in the same moment.
const ENDING_ATTEMPTS: usize = 5;

/// A pending job `j` that is due.
const DUE: &str = "j.status = 'pending' AND j.scheduled_for <= now() AND j.job_type = ";
/// Nobody works on the node of `j` in this way. A pending job that this sees was asked for after the one that runs was
/// claimed, so it sees that one, too.
const FREE: &str = " AND NOT EXISTS (SELECT FROM processing_jobs h WHERE h.worker IS NOT NULL \
    AND h.resource_id = j.resource_id AND h.job_type = j.job_type)";

/// Adds the next board after `from` that has due jobs of the priority `level.priority`; `until` ends the list.
fn next_board<ST>(
    statement: Statement<ST>,
    claim: &JobClaim,
    place: &'static str,
    source: &'static str,
    from: Option<Uuid>,
    until: Option<Uuid>,
) -> Statement<ST> {
    let statement = statement
        .sql("SELECT j.board_id, ")
        .sql(place)
        .sql(" FROM ")
        .sql(source)
        .sql(" CROSS JOIN LATERAL (SELECT j.board_id FROM processing_jobs j WHERE ")
        .sql(DUE)
        .bind::<Text, _>(claim.job_type.as_str())
        .sql("::text::job_type AND j.priority = l.priority AND j.board_id > ");
    let statement = match from {
        Some(board) => statement.bind::<SqlUuid, _>(board),
        None => statement.sql("b.board_id"),
    };
    let statement = match until {
        Some(board) => statement.sql(" AND j.board_id <= ").bind::<SqlUuid, _>(board),
        None => statement,
    };
    // In the order of the index, and not of what a plan without it would sort.
    statement.sql(" ORDER BY j.board_id, j.scheduled_for LIMIT 1) AS j")
}

/// The highest priority that has due work; the boards that have it, from the one after the last served and around; of each its
/// share. What a claim reads does not grow with the number of jobs.
fn claimed(claim: &JobClaim) -> Statement<JobSql> {
    let (most, turn) = (claim.most.max(1) as i64, claim.after.map_or(Uuid::nil(), |board| board.0));
    let statement = Statement::new("jobs.claim")
        .sql(
            "WITH RECURSIVE level AS MATERIALIZED (\
                SELECT p.priority FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)) AS p (priority) \
                CROSS JOIN LATERAL (SELECT FROM processing_jobs j WHERE j.priority = p.priority AND j.board_id > ",
        )
        .bind::<SqlUuid, _>(Uuid::nil())
        .sql(" AND ")
        .sql(DUE)
        .bind::<Text, _>(claim.job_type.as_str())
        .sql("::text::job_type")
        .sql(FREE)
        .sql(" ORDER BY j.board_id, j.scheduled_for LIMIT 1) AS j WHERE p.priority >= ")
        .bind::<Integer, _>(claim.least_priority)
        .sql(" ORDER BY p.priority DESC LIMIT 1), later (board_id, place) AS ((");
    let statement = next_board(statement, claim, "1::bigint", "level l", Some(turn), None).sql(") UNION ALL ");
    let statement = next_board(statement, claim, "b.place + 1", "later b CROSS JOIN level l", None, None)
        .sql(" WHERE b.place < ")
        .bind::<BigInt, _>(most)
        .sql("), earlier (board_id, place) AS ((");
    let statement =
        next_board(statement, claim, "1::bigint", "level l", Some(Uuid::nil()), Some(turn)).sql(") UNION ALL ");
    next_board(statement, claim, "b.place + 1", "earlier b CROSS JOIN level l", None, Some(turn))
        .sql(" WHERE b.place < ")
        .bind::<BigInt, _>(most)
        .sql(
            "), turn AS MATERIALIZED (SELECT t.board_id FROM (SELECT board_id, place, 1 AS round FROM later \
             UNION ALL SELECT board_id, place, 2 FROM earlier) AS t ORDER BY t.round, t.place LIMIT ",
        )
        .bind::<BigInt, _>(most)
        .sql(
            "), mine AS MATERIALIZED (SELECT j.id FROM turn t CROSS JOIN level l CROSS JOIN LATERAL (\
                SELECT j.id FROM processing_jobs j WHERE j.priority = l.priority AND j.board_id = t.board_id AND ",
        )
        .sql(DUE)
        .bind::<Text, _>(claim.job_type.as_str())
        .sql("::text::job_type")
        .sql(FREE)
        .sql(" ORDER BY j.scheduled_for, j.id LIMIT greatest(1, ")
        .bind::<BigInt, _>(most)
        .sql(
            " / (SELECT count(*) FROM turn)) FOR UPDATE SKIP LOCKED) AS j) \
             UPDATE processing_jobs j SET status = 'running', attempts = j.attempts + 1, progress = 0, \
             started_at = clock_timestamp(), heartbeat_at = clock_timestamp(), changed_at = clock_timestamp(), \
             completed_at = NULL, worker = ",
        )
        .bind::<Text, _>(claim.worker.clone())
        .sql(" WHERE j.id = ANY(ARRAY(SELECT m.id FROM mine m)) RETURNING ")
        .sql(JOB_COLUMNS)
}

/// Adds what becomes of the jobs `e` (id, kind, message, result, wait in seconds) that are joined as `j`.
fn ended(
    statement: Statement<JobSql>,
    those: impl FnOnce(Statement<JobSql>) -> Statement<JobSql>,
) -> Statement<JobSql> {
    let statement = statement.sql(
        "WITH ended AS MATERIALIZED (SELECT j.id, e.kind, e.message, e.result, e.wait, j.status = 'running' AS ran, CASE \
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
             attempts = j.attempts - CASE WHEN e.ran AND e.kind IN ('passing', 'back') THEN 1 ELSE 0 END, \
             postponed = j.postponed + CASE WHEN e.ran AND e.kind = 'passing' THEN 1 ELSE 0 END, \
             progress = CASE e.status WHEN 'completed' THEN 1 WHEN 'pending' THEN 0 ELSE j.progress END, \
             error_message = CASE WHEN e.status = 'completed' THEN NULL \
                WHEN e.ran AND e.status = 'cancelled' THEN 'Another job for the same node follows' \
                ELSE coalesce(e.message, j.error_message) END, \
             result = CASE e.status WHEN 'completed' THEN e.result ELSE j.result END, \
             scheduled_for = CASE e.status WHEN 'pending' THEN now() + make_interval(secs => e.wait) \
                ELSE j.scheduled_for END, \
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
    };
    // Null is no result, not a result that says null.
    let mut row = json!({ "id": job.id.0, "kind": kind, "message": message, "wait": wait });
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
                        ") AS e (id uuid, kind text, message text, result jsonb, wait double precision) \
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
                         NULL::jsonb AS result, 0::double precision AS wait) AS e JOIN processing_jobs j \
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
