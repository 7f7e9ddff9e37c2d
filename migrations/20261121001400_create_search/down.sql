ALTER TABLE resource_nodes ADD COLUMN embeddings_generated boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN resource_nodes.embeddings_generated IS 'Whether the text is in the vector index of the active generation.';

DROP INDEX nodes_tags;
DROP TABLE search_versions;
DROP FUNCTION add_embedding_partition(uuid);
DROP TABLE embeddings;
ALTER TABLE embedding_generations
    DROP CONSTRAINT embedding_generations_provider_known,
    DROP COLUMN provider;
DROP TABLE chunks;
DROP TABLE indexed_resources;
DROP FUNCTION bm25_weights(tsvector);
DROP FUNCTION lexeme_place(text);
DROP FUNCTION search_words(text, text);
DROP FUNCTION search_text(text);

CREATE TABLE chunks (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL,
    node_id uuid NOT NULL,
    chunk_index integer NOT NULL,
    chunk_text text NOT NULL,
    start_char integer NOT NULL,
    end_char integer NOT NULL,
    token_count integer NOT NULL,
    content_digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT chunks_node_exists FOREIGN KEY (board_id, node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT chunks_board_unique UNIQUE (board_id, id),
    CONSTRAINT chunks_place_unique UNIQUE (node_id, chunk_index),
    CONSTRAINT chunks_span_ordered CHECK (start_char >= 0 AND end_char >= start_char)
);
COMMENT ON TABLE chunks IS 'Spans of text of resources: what search finds and cites.';
COMMENT ON COLUMN chunks.id IS 'Version 7 UUID; chunk_… in the API.';
COMMENT ON COLUMN chunks.board_id IS 'The board of the resource.';
COMMENT ON COLUMN chunks.node_id IS 'The resource.';
COMMENT ON COLUMN chunks.chunk_index IS 'Place in the resource, from 0.';
COMMENT ON COLUMN chunks.chunk_text IS 'The text.';
COMMENT ON COLUMN chunks.start_char IS 'First character in the text of the resource.';
COMMENT ON COLUMN chunks.end_char IS 'Character after the last one.';
COMMENT ON COLUMN chunks.token_count IS 'Tokens by the tokenizer of the model.';
COMMENT ON COLUMN chunks.content_digest IS 'SHA-256 of the text: an unchanged chunk is not embedded again.';
COMMENT ON COLUMN chunks.created_at IS 'When it was cut.';
CREATE INDEX chunks_node ON chunks (board_id, node_id, chunk_index);

CREATE TABLE embeddings (
    generation_id uuid NOT NULL CONSTRAINT embeddings_generation_exists REFERENCES embedding_generations (id),
    chunk_id uuid NOT NULL,
    board_id uuid NOT NULL,
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
COMMENT ON COLUMN embeddings.embedding IS 'The vector; never all zero, a cosine index would lose it.';
COMMENT ON COLUMN embeddings.created_at IS 'When.';
CREATE INDEX embeddings_chunk ON embeddings (board_id, chunk_id);
