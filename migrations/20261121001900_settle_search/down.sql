CREATE OR REPLACE FUNCTION bm25_weights(words tsvector) RETURNS sparsevec
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, public
AS $$
    WITH counted AS (
        SELECT lexeme_place(w.lexeme) AS place, sum(cardinality(w.positions))::float8 AS times FROM unnest(words) w GROUP BY 1
    ), total AS (SELECT sum(times) AS length FROM counted)
    SELECT ('{' || coalesce(string_agg(
        c.place || ':' || (c.times * 2.2::float8 / (c.times + 1.2 * (0.25 + 0.75 * t.length / 90)))::real, ','), '')
        || '}/268435456')::sparsevec
    FROM counted c, total t
$$;

CREATE OR REPLACE FUNCTION enqueue_restored_text() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO processing_jobs (board_id, resource_id, job_type) VALUES (NEW.board_id, NEW.id, 'extract_text')
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

COMMENT ON COLUMN indexed_resources.indexed_at IS 'When.';
ALTER TABLE indexed_resources DROP COLUMN title;
