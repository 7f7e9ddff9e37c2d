-- A resource that was deleted before its text was cut or embedded comes back: it is looked at again, and mostly nothing is to be done.

CREATE FUNCTION enqueue_restored_text() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs (board_id, resource_id, job_type) VALUES (NEW.board_id, NEW.id, 'extract_text')
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION enqueue_restored_text() IS 'Asks for the text of a restored resource to be cut.';

CREATE TRIGGER nodes_restored_text AFTER UPDATE OF deleted_at ON nodes FOR EACH ROW
    WHEN (NEW.type = 'resource' AND OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL)
    EXECUTE FUNCTION enqueue_restored_text();

-- What every search looks at: whether a text of its boards is not searchable yet. Most jobs have ended well and are not in it.
CREATE INDEX processing_jobs_unsettled ON processing_jobs (board_id)
    WHERE job_type = 'extract_text' AND status IN ('pending', 'running', 'failed', 'cancelled');
