-- What node.graphql shows, in one statement and without asking who may see it.
\set number random(1, 500)

SELECT n.type, n.id, n.x, n.y, n.width, n.height, n.z_index, n.is_locked, n.version, n.created_at, n.updated_at,
       r.resource_type, r.title, r.content, r.url, r.processing_status, r.language, r.word_count, r.reading_time,
       c.ai_model, c.system_prompt, c.temperature, c.max_tokens, c.response_format,
       f.name, f.color, f.icon,
       CASE WHEN n.type = 'folder' THEN (
           SELECT count(*) FROM node_hierarchy h
           JOIN nodes child ON child.board_id = h.board_id AND child.id = h.child_id AND child.deleted_at IS NULL
           WHERE h.board_id = n.board_id AND h.parent_id = n.id) END AS child_count
FROM bench.nodes k
JOIN nodes n ON n.id = k.node_id AND n.deleted_at IS NULL
JOIN boards b ON b.id = n.board_id AND b.deleted_at IS NULL
LEFT JOIN resource_nodes r ON r.node_id = n.id
LEFT JOIN chat_nodes c ON c.node_id = n.id
LEFT JOIN folder_nodes f ON f.node_id = n.id
WHERE k.number = :number;
