CREATE OR REPLACE FUNCTION enqueue_restored_text() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs AS j (board_id, resource_id, job_type) VALUES (NEW.board_id, NEW.id, 'extract_text')
        ON CONFLICT (resource_id, job_type) WHERE status = 'pending'
        DO UPDATE SET scheduled_for = least(j.scheduled_for, excluded.scheduled_for);
    RETURN NULL;
END
$$;
