-- The title that the chunks of a resource were cut with: what is embedded of a chunk is what its digest is of, whatever the title is
-- when that happens.
ALTER TABLE indexed_resources ADD COLUMN title text NOT NULL DEFAULT '';
COMMENT ON COLUMN indexed_resources.title IS 'Title that goes with each chunk, as far as there is room.';
UPDATE indexed_resources i SET title = left(btrim(coalesce(r.title, ''), E' \t\r\n'), 200)
    FROM resource_nodes r WHERE r.node_id = i.node_id;
COMMENT ON COLUMN indexed_resources.indexed_at IS 'When its text was read.';

-- The update locks the pending job: no worker takes it before the resource is there again.
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

-- Nine hundred different words fit a page. No text of a chunk has that many, but something that is no text may.
CREATE OR REPLACE FUNCTION bm25_weights(words tsvector) RETURNS sparsevec
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, public
AS $$
    WITH counted AS (
        SELECT lexeme_place(w.lexeme) AS place, sum(cardinality(w.positions))::float8 AS times FROM unnest(words) w GROUP BY 1 ORDER BY 1 LIMIT 900
    ), total AS (SELECT sum(times) AS length FROM counted)
    SELECT ('{' || coalesce(string_agg(
        c.place || ':' || (c.times * 2.2::float8 / (c.times + 1.2 * (0.25 + 0.75 * t.length / 90)))::real, ','), '')
        || '}/268435456')::sparsevec
    FROM counted c, total t
$$;
