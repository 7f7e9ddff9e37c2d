-- What search stands on: texts cut into chunks that are found by words and, through their vectors, by meaning.
-- The tables of 20261121000800 were never written to; these take their place.

DROP TABLE embeddings;
DROP TABLE chunks;

-- Accents are folded where writing leaves them out (Latin, Greek); in other scripts the marks tell letters apart. Letters of
-- scripts that are written without spaces become words of their own, or a whole sentence would be one word.
CREATE FUNCTION search_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $$
    SELECT regexp_replace(
        normalize(
            regexp_replace(
                normalize(replace(lower(coalesce(value, '')), 'ß', 'ss'), NFKD), '([a-z\u0131\u0251-\u02af\u0370-\u03ff])[\u0300-\u036f]+', '\1', 'g'),
            NFKC),
        '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])', ' \1 ', 'g')
$$;
COMMENT ON FUNCTION search_text(text) IS 'Text as it is searched: folded, in lower case, letters of scripts without spaces apart.';

CREATE FUNCTION search_words(config text, value text) RETURNS tsvector
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, public
AS $$ SELECT to_tsvector(config::regconfig, search_text(value)) $$;
COMMENT ON FUNCTION search_words(text, text) IS 'Stemmed words of a text with their places.';

-- MD5 and not hashtext(), which may differ between versions of PostgreSQL: what was stored must be found after an upgrade.
CREATE FUNCTION lexeme_place(lexeme text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $$ SELECT ('x' || left(md5(lexeme), 7))::bit(28)::integer + 1 $$;
COMMENT ON FUNCTION lexeme_place(text) IS 'Where a stemmed word stands in sparse vectors: 1 to 268,435,456; of 50,000 words about five pairs share a place.';

-- The part of BM25 (Robertson, Zaragoza 2009) that belongs to the document: k1 = 1.2, b = 0.75. The rest is in the query.
-- Chunks are of one size by construction, so their average length is a constant here and not a figure to be kept true.
CREATE FUNCTION bm25_weights(words tsvector) RETURNS sparsevec
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
COMMENT ON FUNCTION bm25_weights(tsvector) IS 'Weights of the words of a chunk; the inner product with the weights of a query is BM25.';

-- What of a resource is searchable: one row for each that was cut.
CREATE TABLE indexed_resources (
    node_id uuid PRIMARY KEY,
    board_id uuid NOT NULL,
    node_version bigint NOT NULL,
    config varchar(30) NOT NULL,
    language varchar(10),
    chunk_count integer NOT NULL,
    indexed_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT indexed_resources_node_exists FOREIGN KEY (board_id, node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT indexed_resources_chunks_positive CHECK (chunk_count >= 0)
);
COMMENT ON TABLE indexed_resources IS 'Resources whose text was cut into chunks.';
COMMENT ON COLUMN indexed_resources.node_id IS 'The resource.';
COMMENT ON COLUMN indexed_resources.board_id IS 'Its board.';
COMMENT ON COLUMN indexed_resources.node_version IS 'The version of the node whose text it was; an older one never takes its place.';
COMMENT ON COLUMN indexed_resources.config IS 'Text search configuration: how words were stemmed.';
COMMENT ON COLUMN indexed_resources.language IS 'BCP 47 tag of the text; null when it is not known.';
COMMENT ON COLUMN indexed_resources.chunk_count IS 'Into how many chunks.';
COMMENT ON COLUMN indexed_resources.indexed_at IS 'When.';

CREATE INDEX indexed_resources_node ON indexed_resources (board_id, node_id);

CREATE TABLE chunks (
    -- Random and not ordered by time: the first thousand ids of a board are a fair sample of it.
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    board_id uuid NOT NULL,
    node_id uuid NOT NULL,
    chunk_index integer NOT NULL,
    field varchar(20) NOT NULL,
    chunk_text text NOT NULL,
    start_char integer NOT NULL,
    end_char integer NOT NULL,
    start_utf16 integer NOT NULL,
    end_utf16 integer NOT NULL,
    token_count integer NOT NULL,
    content_digest bytea NOT NULL,
    words tsvector NOT NULL,
    weights sparsevec(268435456) GENERATED ALWAYS AS (bm25_weights(words)) STORED,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT chunks_node_exists FOREIGN KEY (board_id, node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT chunks_board_unique UNIQUE (board_id, id),
    -- Looked at when a statement is over: chunks change places.
    CONSTRAINT chunks_place_unique UNIQUE (node_id, chunk_index) DEFERRABLE,
    CONSTRAINT chunks_field_known CHECK (field = ANY ('{title,content,extracted_text}'::text[])),
    CONSTRAINT chunks_span_ordered CHECK (
        start_char >= 0 AND end_char >= start_char AND start_utf16 >= start_char AND end_utf16 >= start_utf16)
);
COMMENT ON TABLE chunks IS 'Spans of text of resources: what search finds and cites.';
COMMENT ON COLUMN chunks.id IS 'Random UUID; chunk_… in the API.';
COMMENT ON COLUMN chunks.board_id IS 'The board of the resource.';
COMMENT ON COLUMN chunks.node_id IS 'The resource.';
COMMENT ON COLUMN chunks.chunk_index IS 'Place in the resource, from 0.';
COMMENT ON COLUMN chunks.field IS 'Which text of the resource it was cut from: title, content or extracted_text.';
COMMENT ON COLUMN chunks.chunk_text IS 'The text.';
COMMENT ON COLUMN chunks.start_char IS 'First character (Unicode scalar value) in that text.';
COMMENT ON COLUMN chunks.end_char IS 'Character after the last one.';
COMMENT ON COLUMN chunks.start_utf16 IS 'The same in UTF-16 code units, as JavaScript counts.';
COMMENT ON COLUMN chunks.end_utf16 IS 'Code unit after the last one.';
COMMENT ON COLUMN chunks.token_count IS 'Tokens by the tokenizer of the model.';
COMMENT ON COLUMN chunks.content_digest IS 'SHA-256 of what is embedded: an unchanged chunk is not embedded again.';
COMMENT ON COLUMN chunks.words IS 'Stemmed words with their places, those of the title included.';
COMMENT ON COLUMN chunks.weights IS 'BM25 weights of the words.';
COMMENT ON COLUMN chunks.created_at IS 'When it was cut.';

-- Read for every chunk of a scope: not to be fetched from elsewhere, nor unpacked.
ALTER TABLE chunks ALTER COLUMN weights SET STORAGE PLAIN;
CREATE INDEX chunks_node ON chunks (board_id, node_id, chunk_index);
CREATE INDEX chunks_words ON chunks USING gin (words);

ALTER TABLE embedding_generations
    ADD COLUMN provider varchar(20) NOT NULL DEFAULT 'local',
    ADD CONSTRAINT embedding_generations_provider_known CHECK (provider = ANY ('{local,http}'::text[]));
COMMENT ON COLUMN embedding_generations.provider IS 'Who computes it: local (a model in a folder) or http (an OpenAI-compatible service).';

CREATE TABLE embeddings (
    generation_id uuid NOT NULL CONSTRAINT embeddings_generation_exists REFERENCES embedding_generations (id),
    chunk_id uuid NOT NULL,
    board_id uuid NOT NULL,
    node_id uuid NOT NULL,
    embedding vector NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (generation_id, chunk_id),
    CONSTRAINT embeddings_chunk_exists FOREIGN KEY (board_id, chunk_id) REFERENCES chunks (board_id, id) ON DELETE CASCADE,
    CONSTRAINT embeddings_not_zero CHECK (vector_norm(embedding) > 0)
) PARTITION BY LIST (generation_id);
COMMENT ON TABLE embeddings IS 'Vectors of chunks. The vector has no fixed length; each partition checks that of its generation.';
COMMENT ON COLUMN embeddings.generation_id IS 'Which model made it.';
COMMENT ON COLUMN embeddings.chunk_id IS 'Of which chunk.';
COMMENT ON COLUMN embeddings.board_id IS 'The board of the chunk.';
COMMENT ON COLUMN embeddings.node_id IS 'The resource of the chunk.';
COMMENT ON COLUMN embeddings.embedding IS 'The vector; never all zero, a cosine index would lose it.';
COMMENT ON COLUMN embeddings.created_at IS 'When.';

CREATE INDEX embeddings_node ON embeddings (board_id, node_id);
CREATE INDEX embeddings_chunk ON embeddings (board_id, chunk_id);

-- A partition for the vectors of a generation, named after it. Its index is made beside it, when there is enough to index.
CREATE FUNCTION add_embedding_partition(generation uuid) RETURNS text
    LANGUAGE plpgsql
    -- What is named here first is where tables are made.
    SET search_path = public, pg_catalog
AS $$
DECLARE
    length integer := (SELECT g.dimensions FROM embedding_generations g WHERE g.id = generation);
    partition text := 'embeddings_' || replace(generation::text, '-', '');
BEGIN
    IF length IS NULL THEN
        RAISE EXCEPTION 'there is no generation %', generation USING ERRCODE = 'foreign_key_violation';
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF embeddings (CONSTRAINT %I CHECK (vector_dims(embedding) = %s)) '
        'FOR VALUES IN (%L)', partition, partition || '_dimensions', length, generation);
    -- 1,900 floats fit a page beside the rest of the row: exact scans then read one place and not two.
    IF length <= 1900 THEN
        EXECUTE format('ALTER TABLE %I ALTER COLUMN embedding SET STORAGE PLAIN', partition);
    END IF;
    RETURN partition;
END
$$;
COMMENT ON FUNCTION add_embedding_partition(uuid) IS 'Makes the partition of a generation and returns its name.';

-- What is searchable of a board changes after the board does: texts are cut and embedded beside requests. So it has a version
-- of its own, which answers that are kept are compared with.
CREATE TABLE search_versions (
    board_id uuid PRIMARY KEY CONSTRAINT search_versions_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    version bigint NOT NULL DEFAULT 1,
    configs text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE search_versions IS 'How often what is searchable of a board has changed.';
COMMENT ON COLUMN search_versions.board_id IS 'The board.';
COMMENT ON COLUMN search_versions.version IS 'Stepped with every change of its chunks or vectors.';
COMMENT ON COLUMN search_versions.configs IS 'Text search configurations that its resources were cut with at some time.';

-- What a search is narrowed to by tags. Nodes without any, which are most, cost nothing.
CREATE INDEX nodes_tags ON nodes USING gin ((metadata -> 'tags')) WHERE metadata -> 'tags' IS NOT NULL;

-- Whether search finds a resource is known from indexed_resources and embeddings, and needs no copy.
ALTER TABLE resource_nodes DROP COLUMN embeddings_generated;
