-- What jobs would have made of the rows of synthetic.py, and the indexes.

SET session_replication_role = replica;
SET maintenance_work_mem = '1GB';
SET max_parallel_maintenance_workers = 2;

INSERT INTO resource_nodes (node_id, board_id, resource_type, title, content, processing_status)
SELECT node_id, board_id, 'text', 'Note ' || row_number() OVER (ORDER BY node_id), string_agg(chunk_text, ' ' ORDER BY chunk_index),
       'completed'
FROM bench.chunks GROUP BY node_id, board_id;
INSERT INTO chunks (id, board_id, node_id, chunk_index, field, chunk_text, start_char, end_char, start_utf16, end_utf16,
                    token_count, content_digest, words)
SELECT id, board_id, node_id, chunk_index, 'content', chunk_text, start, start + length(chunk_text), start, start + length(chunk_text), 200,
       sha256(chunk_text::bytea), search_words('english', chunk_text)
-- All texts are of one length, with a space between them.
FROM bench.chunks CROSS JOIN LATERAL (SELECT chunk_index * (length(chunk_text) + 1) AS start) s;
DROP TABLE bench.chunks;
INSERT INTO indexed_resources (node_id, board_id, node_version, config, language, chunk_count)
SELECT id, board_id, version, 'english', 'en', 5 FROM nodes WHERE board_id = :'board';
INSERT INTO search_versions (board_id, version, configs) VALUES (:'board', 1, '{english}')
ON CONFLICT (board_id) DO UPDATE SET version = search_versions.version + 1, configs = excluded.configs;

CREATE INDEX chunks_words ON chunks USING gin (words);
CREATE INDEX scopes_tag ON bench.scopes (tag, node_id);
CREATE INDEX ON :"partition" USING hnsw ((embedding::vector(384)) vector_cosine_ops) WITH (m = 16, ef_construction = 200);
VACUUM (ANALYZE);
CREATE TABLE bench.loaded ();
