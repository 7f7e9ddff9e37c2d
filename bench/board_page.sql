-- What board_page.graphql shows, in three statements and without asking who may see it.
\set number random(1, 25)

SELECT b.name, b.version, u.id, u.name
FROM bench.boards k
JOIN boards b ON b.id = k.board_id AND b.deleted_at IS NULL
JOIN users u ON u.id = b.user_id
WHERE k.number = :number;

SELECT n.type, n.id, n.x, n.y, n.width, n.height, n.z_index, n.is_locked, n.version, n.created_at, n.updated_at,
       r.resource_type, r.title, r.content, r.url, r.processing_status, r.language, r.word_count, r.reading_time,
       c.ai_model, c.system_prompt, c.temperature, c.max_tokens, c.response_format,
       f.name, f.color, f.icon
FROM bench.boards k
CROSS JOIN LATERAL (
    SELECT * FROM nodes
    WHERE board_id = k.board_id AND deleted_at IS NULL
    ORDER BY created_at, id LIMIT 50) AS n
LEFT JOIN resource_nodes r ON r.node_id = n.id
LEFT JOIN chat_nodes c ON c.node_id = n.id
LEFT JOIN folder_nodes f ON f.node_id = n.id
WHERE k.number = :number
ORDER BY n.created_at, n.id;

SELECT l.id, l.connection_type, l.label, l.from_node_id, l.to_node_id
FROM bench.boards k
CROSS JOIN LATERAL (
    SELECT * FROM connections c
    WHERE c.board_id = k.board_id
        AND EXISTS (SELECT FROM nodes e WHERE e.board_id = c.board_id AND e.id = c.from_node_id AND e.deleted_at IS NULL)
        AND EXISTS (SELECT FROM nodes e WHERE e.board_id = c.board_id AND e.id = c.to_node_id AND e.deleted_at IS NULL)
    ORDER BY c.id LIMIT 100) AS l
WHERE k.number = :number
ORDER BY l.id;
