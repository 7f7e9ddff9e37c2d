-- The least SQL that makes a resource on one of the first `boards` boards as the gateway does: under the lock of the board,
-- with its next version and an entry of the log, and without asking who may do it.
\set board_number random(1, :boards)
\set x random(0, 10000)

BEGIN;
UPDATE boards SET version = version + 1, updated_at = now()
WHERE id = (SELECT board_id FROM bench.boards WHERE number = :board_number) AND deleted_at IS NULL
RETURNING version, user_id, id AS board_id \gset
INSERT INTO nodes (board_id, version, type, x, y) VALUES (:board_id, :version, 'resource', :x, :x)
RETURNING id AS node_id \gset
INSERT INTO resource_nodes (board_id, node_id, resource_type, title, content, processing_status)
VALUES (:board_id, :node_id, 'text', 'A note', 'What we know, and what we still want to find out.', 'completed');
INSERT INTO board_events (board_id, version, actor_id, client_mutation_id, changes)
VALUES (:board_id, :version, :user_id, 'a change of the benchmark',
        jsonb_build_array(jsonb_build_object('type', 'node_saved', 'id', :node_id::uuid)));
COMMIT;
