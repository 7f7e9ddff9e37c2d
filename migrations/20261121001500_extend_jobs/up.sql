-- Jobs are claimed fairly, seen to be alive, and asked for by the change that makes them necessary.

SET LOCAL lock_timeout = '5s';

ALTER TABLE processing_jobs
    ADD COLUMN postponed integer NOT NULL DEFAULT 0,
    ADD COLUMN progress real NOT NULL DEFAULT 0,
    ADD COLUMN worker text,
    ADD COLUMN heartbeat_at timestamptz,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CONSTRAINT processing_jobs_postponed_positive CHECK (postponed >= 0),
    ADD CONSTRAINT processing_jobs_progress_range CHECK (progress BETWEEN 0 AND 1);
COMMENT ON COLUMN processing_jobs.attempts IS 'How often it was tried, without what was put off.';
COMMENT ON COLUMN processing_jobs.max_attempts IS 'How often it may be tried; it may be put off four times as often.';
COMMENT ON COLUMN processing_jobs.postponed IS 'How often it was put off because something was overloaded or took too long.';
COMMENT ON COLUMN processing_jobs.progress IS 'How much of it is done, 0 to 1.';
COMMENT ON COLUMN processing_jobs.worker IS 'Whose batch it is in; also after it was cancelled, until the worker has let go of it. Null otherwise.';
COMMENT ON COLUMN processing_jobs.heartbeat_at IS 'When its worker was last heard of.';
COMMENT ON COLUMN processing_jobs.changed_at IS 'Last change of its state or progress, by the clock and not by the transaction.';

-- What is due of a type and a priority, by board: a claim finds the next board without reading through the jobs of this one.
DROP INDEX processing_jobs_due;
CREATE INDEX processing_jobs_due ON processing_jobs (job_type, priority, board_id, scheduled_for, id) WHERE status = 'pending';
-- Asking twice for what has not begun is asking once; and nobody works on a node twice at the same time.
CREATE UNIQUE INDEX processing_jobs_once_pending ON processing_jobs (resource_id, job_type) WHERE status = 'pending';
CREATE UNIQUE INDEX processing_jobs_once_held ON processing_jobs (resource_id, job_type) WHERE worker IS NOT NULL;
DROP INDEX processing_jobs_running;
-- Lists of a board, newest first, and what changed on it.
DROP INDEX processing_jobs_board;
CREATE INDEX processing_jobs_board ON processing_jobs (board_id, created_at, id);
CREATE INDEX processing_jobs_changed ON processing_jobs (board_id, changed_at);

CREATE FUNCTION job_priority() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path = pg_catalog
AS $$ SELECT greatest(1, least(10, coalesce(nullif(current_setting('ragboard.job_priority', true), '')::integer, 5))) $$;
COMMENT ON FUNCTION job_priority() IS 'Priority of the jobs that changes of this transaction ask for: the setting ragboard.job_priority, else 5.';

-- The update of a pending job locks it: no worker takes it before the text that it is about is committed.
CREATE FUNCTION enqueue_inserted_resources() RETURNS trigger
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
COMMENT ON FUNCTION enqueue_inserted_resources() IS 'Asks for the text of new resources to be cut into chunks.';
CREATE TRIGGER resource_nodes_enqueue_inserted AFTER INSERT ON resource_nodes
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION enqueue_inserted_resources();

CREATE FUNCTION enqueue_changed_resource() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs AS j (board_id, resource_id, job_type, priority)
    VALUES (NEW.board_id, NEW.node_id, 'extract_text', job_priority())
    ON CONFLICT (resource_id, job_type) WHERE status = 'pending'
    DO UPDATE SET priority = greatest(j.priority, excluded.priority), scheduled_for = least(j.scheduled_for, excluded.scheduled_for);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION enqueue_changed_resource() IS 'Asks for the text of a changed resource to be cut into chunks anew.';
CREATE TRIGGER resource_nodes_enqueue_changed AFTER UPDATE OF title, content, extracted_text, language ON resource_nodes
    FOR EACH ROW
    WHEN ((NEW.title, NEW.content, NEW.extracted_text, NEW.language)
        IS DISTINCT FROM (OLD.title, OLD.content, OLD.extracted_text, OLD.language))
    EXECUTE FUNCTION enqueue_changed_resource();

-- What is there already. Behind everything that somebody waits for.
INSERT INTO processing_jobs (board_id, resource_id, job_type, priority)
SELECT r.board_id, r.node_id, 'extract_text', 2
FROM resource_nodes r
JOIN nodes n ON n.board_id = r.board_id AND n.id = r.node_id AND n.deleted_at IS NULL
JOIN boards b ON b.id = r.board_id AND b.deleted_at IS NULL
WHERE r.title IS NOT NULL OR r.content IS NOT NULL OR r.extracted_text IS NOT NULL
ORDER BY r.node_id
ON CONFLICT DO NOTHING;
