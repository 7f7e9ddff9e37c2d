-- Accounts take turns in background work: an account with many boards, or with many long texts, is one account.

SET LOCAL lock_timeout = '5s';

ALTER TABLE processing_jobs ADD COLUMN owner_id uuid;
COMMENT ON COLUMN processing_jobs.owner_id IS 'The owner of the board when the job was asked for: accounts take turns. Null for work of the system, and for what had ended before this column was there.';
COMMENT ON COLUMN processing_jobs.progress IS 'How much of it is done, 0 to 1; kept while a long job waits for its next slice.';

-- Whoever asks for a job, also by hand, and also for one that had ended.
CREATE FUNCTION fill_job_owner() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    NEW.owner_id := (SELECT b.user_id FROM boards b WHERE b.id = NEW.board_id);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION fill_job_owner() IS 'Fills in whose turn a job is, where whoever asked for it did not say.';
CREATE TRIGGER processing_jobs_fill_owner BEFORE INSERT OR UPDATE OF status ON processing_jobs FOR EACH ROW
    WHEN (NEW.owner_id IS NULL AND NEW.board_id IS NOT NULL) EXECUTE FUNCTION fill_job_owner();

UPDATE processing_jobs j SET owner_id = b.user_id FROM boards b
    WHERE b.id = j.board_id AND (j.status = 'pending' OR j.worker IS NOT NULL);

-- What is due of a type and a priority, by account and board: a claim finds the next account without reading through the jobs of this one.
DROP INDEX processing_jobs_due;
CREATE INDEX processing_jobs_due ON processing_jobs (job_type, priority, owner_id, board_id, scheduled_for, id) WHERE status = 'pending';

-- Many rows: the owner is looked up by one join and not by the trigger.
CREATE OR REPLACE FUNCTION enqueue_inserted_resources() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs AS j (board_id, owner_id, resource_id, job_type, priority)
    SELECT r.board_id, b.user_id, r.node_id, 'extract_text',
        CASE WHEN (SELECT count(*) FROM inserted) > 20 THEN least(job_priority(), 3) ELSE job_priority() END
    FROM inserted r JOIN boards b ON b.id = r.board_id
    WHERE r.title IS NOT NULL OR r.content IS NOT NULL OR r.extracted_text IS NOT NULL
    ORDER BY r.node_id
    ON CONFLICT (resource_id, job_type) WHERE status = 'pending'
    DO UPDATE SET priority = greatest(j.priority, excluded.priority);
    RETURN NULL;
END
$$;

-- The accounts that have due work, from the one after the last served and around; of each the highest priority it has, its boards in
-- turn, and of each board its share. What a claim reads grows with what it takes and not with what waits.
CREATE FUNCTION claim_jobs(
    what job_type, least_priority integer, most integer, by_worker text, after_owner uuid, served_owners uuid[], served_boards uuid[]
) RETURNS SETOF processing_jobs
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
    -- Its plans are kept, and may have been made while the queue was empty or full: it always goes by the index.
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    everybody CONSTANT uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    owners uuid[] := '{}';
    boards uuid[];
    ids uuid[] := '{}';
    levels integer[] := ARRAY(SELECT p FROM generate_series(10, least_priority, -1) AS p WHERE EXISTS (
        SELECT FROM processing_jobs j WHERE j.status = 'pending' AND j.job_type = what AND j.priority = p));
    bounds uuid[];
    behind uuid;
    upto uuid;
    level integer;
    share integer;
    owner uuid;
    board uuid;
BEGIN
    -- Two walks: behind the last served, then from the beginning up to it.
    FOREACH bounds SLICE 1 IN ARRAY ARRAY[[coalesce(after_owner, nobody), everybody], [nobody, coalesce(after_owner, nobody)]] LOOP
        behind := bounds[1];
        upto := bounds[2];
        WHILE cardinality(owners) < most LOOP
            SELECT j.owner_id INTO owner FROM unnest(levels) AS p CROSS JOIN LATERAL (
                SELECT j.owner_id FROM processing_jobs j
                WHERE j.status = 'pending' AND j.job_type = what AND j.priority = p AND j.owner_id > behind AND j.owner_id <= upto
                    AND j.scheduled_for <= now()
                ORDER BY j.owner_id, j.board_id, j.scheduled_for LIMIT 1) AS j ORDER BY j.owner_id LIMIT 1;
            EXIT WHEN owner IS NULL;
            owners := owners || owner;
            behind := owner;
        END LOOP;
    END LOOP;

    FOREACH owner IN ARRAY owners LOOP
        share := greatest(1, most / cardinality(owners));
        EXIT WHEN cardinality(ids) >= most;
        -- A pending job was asked for after the one that runs on its node was claimed: that one is seen, too.
        SELECT p INTO level FROM unnest(levels) AS p CROSS JOIN LATERAL (
            SELECT FROM processing_jobs j
            WHERE j.status = 'pending' AND j.job_type = what AND j.priority = p AND j.owner_id = owner AND j.scheduled_for <= now()
                AND NOT EXISTS (SELECT FROM processing_jobs h
                    WHERE h.worker IS NOT NULL AND h.resource_id = j.resource_id AND h.job_type = what)
            ORDER BY j.board_id, j.scheduled_for LIMIT 1) AS j ORDER BY p DESC LIMIT 1;
        CONTINUE WHEN level IS NULL;
        boards := '{}';
        board := coalesce(served_boards[array_position(served_owners, owner)], nobody);
        FOREACH bounds SLICE 1 IN ARRAY ARRAY[[board, everybody], [nobody, board]] LOOP
            behind := bounds[1];
            upto := bounds[2];
            WHILE cardinality(boards) < share LOOP
                SELECT j.board_id INTO board FROM processing_jobs j
                WHERE j.status = 'pending' AND j.job_type = what AND j.priority = level AND j.owner_id = owner
                    AND j.board_id > behind AND j.board_id <= upto AND j.scheduled_for <= now()
                ORDER BY j.board_id, j.scheduled_for LIMIT 1;
                EXIT WHEN board IS NULL;
                boards := boards || board;
                behind := board;
            END LOOP;
        END LOOP;
        FOREACH board IN ARRAY boards LOOP
            ids := ids || ARRAY(
                SELECT j.id FROM processing_jobs j
                WHERE j.status = 'pending' AND j.job_type = what AND j.priority = level AND j.owner_id = owner AND j.board_id = board
                    AND j.scheduled_for <= now()
                    AND NOT EXISTS (SELECT FROM processing_jobs h
                        WHERE h.worker IS NOT NULL AND h.resource_id = j.resource_id AND h.job_type = what)
                ORDER BY j.scheduled_for, j.id LIMIT greatest(1, share / cardinality(boards)) FOR UPDATE SKIP LOCKED);
        END LOOP;
    END LOOP;

    RETURN QUERY UPDATE processing_jobs j SET status = 'running', attempts = j.attempts + 1, started_at = clock_timestamp(),
        heartbeat_at = clock_timestamp(), changed_at = clock_timestamp(), completed_at = NULL, worker = by_worker
        WHERE j.id = ANY (ids) RETURNING j.*;
END
$$;
COMMENT ON FUNCTION claim_jobs(job_type, integer, integer, text, uuid, uuid[], uuid[]) IS
    'Takes due jobs of a type for a batch: accounts take turns, and the boards of an account; priority orders the work of one account.';
