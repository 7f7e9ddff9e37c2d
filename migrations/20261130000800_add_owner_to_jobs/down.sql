SET LOCAL lock_timeout = '5s';

DROP FUNCTION claim_jobs(job_type, integer, integer, text, uuid, uuid[], uuid[]);

CREATE OR REPLACE FUNCTION enqueue_inserted_resources() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs AS j (board_id, resource_id, job_type, priority)
    SELECT r.board_id, r.node_id, 'extract_text',
        CASE WHEN (SELECT count(*) FROM inserted) > 20 THEN least(job_priority(), 3) ELSE job_priority() END FROM inserted r
    WHERE r.title IS NOT NULL OR r.content IS NOT NULL OR r.extracted_text IS NOT NULL
    ORDER BY r.node_id
    ON CONFLICT (resource_id, job_type) WHERE status = 'pending'
    DO UPDATE SET priority = greatest(j.priority, excluded.priority);
    RETURN NULL;
END
$$;

DROP TRIGGER processing_jobs_fill_owner ON processing_jobs;
DROP FUNCTION fill_job_owner();
DROP INDEX processing_jobs_due;
ALTER TABLE processing_jobs DROP COLUMN owner_id;
CREATE INDEX processing_jobs_due ON processing_jobs (job_type, priority, board_id, scheduled_for, id) WHERE status = 'pending';
COMMENT ON COLUMN processing_jobs.progress IS 'How much of it is done, 0 to 1.';
