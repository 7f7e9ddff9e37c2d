-- More new resources than somebody writes by hand are an import, whatever brings them: edits are not to wait behind them.

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
