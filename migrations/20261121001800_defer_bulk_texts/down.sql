CREATE OR REPLACE FUNCTION enqueue_inserted_resources() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs AS j (board_id, resource_id, job_type, priority)
    SELECT r.board_id, r.node_id, 'extract_text', job_priority() FROM inserted r
    WHERE r.title IS NOT NULL OR r.content IS NOT NULL OR r.extracted_text IS NOT NULL
    ORDER BY r.node_id
    ON CONFLICT (resource_id, job_type) WHERE status = 'pending'
    DO UPDATE SET priority = greatest(j.priority, excluded.priority);
    RETURN NULL;
END
$$;
