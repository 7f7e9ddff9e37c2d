-- The least SQL that moves `moved` nodes of one of the first `boards` boards as the gateway does: under the lock of the board,
-- with its next version and an entry of the log, and without asking who may do it or reading what was there.
\set board_number random(1, :boards)
\set first random(1, 501 - :moved)
\set last :first + :moved - 1
\set x random(0, 10000)

BEGIN;
UPDATE boards SET version = version + 1, updated_at = now()
WHERE id = (SELECT board_id FROM bench.boards WHERE number = :board_number) AND deleted_at IS NULL
RETURNING version, user_id, id AS board_id \gset
UPDATE nodes n SET x = :x::integer + k.number, y = k.number, version = :version, updated_at = now()
FROM bench.nodes k
WHERE k.board_number = :board_number AND k.number BETWEEN :first AND :last
    AND n.id = k.node_id AND n.board_id = :board_id;
INSERT INTO board_events (board_id, version, actor_id, client_mutation_id, changes)
SELECT :board_id::uuid, :version::bigint, :user_id::uuid, 'a change of the benchmark',
       jsonb_agg(jsonb_build_object('type', 'node_saved', 'id', k.node_id))
FROM bench.nodes k
WHERE k.board_number = :board_number AND k.number BETWEEN :first AND :last;
COMMIT;
