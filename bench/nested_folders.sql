-- What nested_folders.graphql shows, in one statement and without asking who may see it.
\set number random(1, 12)

WITH level0 AS (
    SELECT n.board_id, n.id
    FROM bench.folders k
    JOIN nodes n ON n.board_id = k.board_id AND n.id = k.node_id AND n.deleted_at IS NULL
    WHERE k.number = :number
), level1 AS (
    SELECT child.* FROM level0 folder CROSS JOIN LATERAL (
        SELECT h.parent_id, n.board_id, n.id, h.position
        FROM node_hierarchy h
        JOIN nodes n ON n.board_id = h.board_id AND n.id = h.child_id AND n.deleted_at IS NULL
        WHERE h.board_id = folder.board_id AND h.parent_id = folder.id
        ORDER BY h.position, h.child_id LIMIT 20) AS child
), level2 AS (
    SELECT child.* FROM level1 folder CROSS JOIN LATERAL (
        SELECT h.parent_id, n.board_id, n.id, h.position
        FROM node_hierarchy h
        JOIN nodes n ON n.board_id = h.board_id AND n.id = h.child_id AND n.deleted_at IS NULL
        WHERE h.board_id = folder.board_id AND h.parent_id = folder.id
        ORDER BY h.position, h.child_id LIMIT 20) AS child
), level3 AS (
    SELECT child.* FROM level2 folder CROSS JOIN LATERAL (
        SELECT h.parent_id, n.board_id, n.id, h.position
        FROM node_hierarchy h
        JOIN nodes n ON n.board_id = h.board_id AND n.id = h.child_id AND n.deleted_at IS NULL
        WHERE h.board_id = folder.board_id AND h.parent_id = folder.id
        ORDER BY h.position, h.child_id LIMIT 20) AS child
), shown AS (
    SELECT 0 AS level, NULL::uuid AS parent_id, id, 0 AS position FROM level0
    UNION ALL SELECT 1, parent_id, id, position FROM level1
    UNION ALL SELECT 2, parent_id, id, position FROM level2
    UNION ALL SELECT 3, parent_id, id, position FROM level3
)
SELECT s.level, s.parent_id, s.id, f.name
FROM shown s JOIN folder_nodes f ON f.node_id = s.id
ORDER BY s.level, s.parent_id, s.position;
