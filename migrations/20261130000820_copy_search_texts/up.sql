-- A copy of a board is searchable as its original is: chunks and vectors are copied, and no model is asked.

-- Text and chunks are compared and copied in one statement, so that both are of one moment. What is not as its original any more,
-- or is not cut yet, is left to whoever cuts texts.
CREATE FUNCTION copy_chunks(from_nodes uuid[], to_nodes uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
DECLARE
    done uuid[];
BEGIN
    -- As everybody who keeps vectors does: none of them becomes the active one meanwhile.
    PERFORM 1 FROM embedding_generations WHERE state IN ('active', 'building', 'kept') ORDER BY id FOR SHARE;
    WITH ready AS MATERIALIZED (
        SELECT p.old_id, p.new_id, o.board_id AS old_board, c.board_id AS new_board, n.version, i.title, i.config, i.language,
            i.chunk_count
        FROM unnest(from_nodes, to_nodes) AS p (old_id, new_id)
        JOIN indexed_resources i ON i.node_id = p.old_id AND i.chunk_count <= 2000
        JOIN resource_nodes o ON o.node_id = p.old_id
        JOIN resource_nodes c ON c.node_id = p.new_id
        JOIN nodes n ON n.id = p.new_id
        WHERE (o.title, o.content, o.extracted_text, o.language) IS NOT DISTINCT FROM (c.title, c.content, c.extracted_text, c.language)
            AND NOT EXISTS (SELECT FROM indexed_resources x WHERE x.node_id = p.new_id)
            AND NOT EXISTS (SELECT FROM processing_jobs j
                WHERE j.board_id = o.board_id AND j.resource_id = p.old_id AND j.job_type = 'extract_text'
                    AND (j.status IN ('pending', 'running') OR j.worker IS NOT NULL
                        OR j.status IN ('failed', 'cancelled') AND j.completed_at > i.indexed_at))
    ), marked AS (
        INSERT INTO indexed_resources (node_id, board_id, node_version, title, config, language, chunk_count, indexed_at)
        SELECT new_id, new_board, version, title, config, language, chunk_count, statement_timestamp() FROM ready ORDER BY new_id
        ON CONFLICT (node_id) DO NOTHING RETURNING node_id
    ), pairs AS MATERIALIZED (
        SELECT r.new_id, r.new_board, r.old_board, c.id AS old_chunk, gen_random_uuid() AS new_chunk, c.chunk_index, c.field,
            c.chunk_text, c.start_char, c.end_char, c.start_utf16, c.end_utf16, c.token_count, c.content_digest, c.words
        FROM marked m JOIN ready r ON r.new_id = m.node_id
        JOIN chunks c ON c.board_id = r.old_board AND c.node_id = r.old_id
    ), made AS (
        INSERT INTO chunks (id, board_id, node_id, chunk_index, field, chunk_text, start_char, end_char, start_utf16, end_utf16,
            token_count, content_digest, words)
        SELECT new_chunk, new_board, new_id, chunk_index, field, chunk_text, start_char, end_char, start_utf16, end_utf16,
            token_count, content_digest, words FROM pairs
    ), embedded AS (
        INSERT INTO embeddings (generation_id, chunk_id, board_id, node_id, embedding)
        SELECT e.generation_id, p.new_chunk, p.new_board, p.new_id, e.embedding
        FROM pairs p JOIN embeddings e ON e.board_id = p.old_board AND e.chunk_id = p.old_chunk
        JOIN embedding_generations g ON g.id = e.generation_id AND g.state IN ('active', 'building', 'kept')
    ), stepped AS (
        INSERT INTO search_versions AS v (board_id, configs)
        SELECT r.new_board, array_agg(DISTINCT r.config::text) FROM marked m JOIN ready r ON r.new_id = m.node_id
        GROUP BY r.new_board ORDER BY r.new_board
        ON CONFLICT (board_id) DO UPDATE SET version = v.version + 1,
            configs = ARRAY(SELECT DISTINCT c FROM unnest(v.configs || excluded.configs) c ORDER BY c)
    )
    SELECT array_agg(m.node_id) INTO done FROM marked m;

    -- Where the original has no vectors yet, the copy asks for its own.
    INSERT INTO processing_jobs AS j (board_id, resource_id, job_type, priority)
    SELECT DISTINCT c.board_id, c.node_id, 'create_embeddings'::job_type,
        CASE WHEN cardinality(to_nodes) > 20 THEN least(job_priority(), 3) ELSE job_priority() END
    FROM chunks c JOIN embedding_generations g ON g.state IN ('active', 'building')
    WHERE c.node_id = ANY (done) AND NOT EXISTS (SELECT FROM embeddings e WHERE e.generation_id = g.id AND e.chunk_id = c.id)
    ORDER BY c.node_id
    ON CONFLICT (resource_id, job_type) WHERE status = 'pending' DO UPDATE SET priority = greatest(j.priority, excluded.priority);
    RETURN QUERY SELECT unnest(done);
END
$$;
COMMENT ON FUNCTION copy_chunks(uuid[], uuid[]) IS
    'Copies chunks and vectors of resources to copies of them that have the same text, where the originals are searchable as they are and have at most 2,000 chunks; returns these copies.';
