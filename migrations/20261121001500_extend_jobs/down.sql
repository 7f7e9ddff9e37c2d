DROP TRIGGER resource_nodes_enqueue_changed ON resource_nodes;
DROP TRIGGER resource_nodes_enqueue_inserted ON resource_nodes;
DROP FUNCTION enqueue_changed_resource();
DROP FUNCTION enqueue_inserted_resources();
DROP FUNCTION job_priority();

DROP INDEX processing_jobs_changed;
DROP INDEX processing_jobs_board;
CREATE INDEX processing_jobs_board ON processing_jobs (board_id, id);
CREATE INDEX processing_jobs_running ON processing_jobs (started_at) WHERE status = 'running';
DROP INDEX processing_jobs_once_held;
DROP INDEX processing_jobs_once_pending;
DROP INDEX processing_jobs_due;
CREATE INDEX processing_jobs_due ON processing_jobs (priority DESC, scheduled_for, id) WHERE status = 'pending';

ALTER TABLE processing_jobs
    DROP COLUMN changed_at,
    DROP COLUMN heartbeat_at,
    DROP COLUMN worker,
    DROP COLUMN progress,
    DROP COLUMN postponed;
COMMENT ON COLUMN processing_jobs.attempts IS 'How often it was tried.';
COMMENT ON COLUMN processing_jobs.max_attempts IS 'How often it may be tried.';
