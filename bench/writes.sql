-- The boards that are written to and followed: one account with 200 boards of 500 nodes each, made anew for every run. On each
-- board one node in eight is a folder, one a chat, and the others are resources with a short text.
--
-- Whatever was there before goes, so that a run does not begin with what the one before it left. The schema `bench` says which
-- boards and nodes are written to.

SET client_min_messages = warning;
TRUNCATE users CASCADE;
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;

INSERT INTO users (email, password_hash, name, email_verified) VALUES ('bench@ragboard.example', 'none', 'Bench', true);

CREATE TABLE bench.boards (number integer PRIMARY KEY, board_id uuid NOT NULL);
INSERT INTO bench.boards SELECT number, uuid_v7() FROM generate_series(1, 200) AS number;
INSERT INTO boards (id, user_id, name)
SELECT k.board_id, u.id, 'Board ' || k.number FROM bench.boards k CROSS JOIN users u ORDER BY k.number;

CREATE TABLE bench.nodes (board_number integer, number integer, node_id uuid NOT NULL, type node_type NOT NULL,
                          PRIMARY KEY (board_number, number));
INSERT INTO bench.nodes
SELECT k.number, n, uuid_v7(), (CASE n % 8 WHEN 1 THEN 'folder' WHEN 5 THEN 'chat' ELSE 'resource' END)::node_type
FROM bench.boards k CROSS JOIN generate_series(1, 500) AS n;

INSERT INTO nodes (id, board_id, type, x, y)
SELECT n.node_id, k.board_id, n.type, n.number % 25 * 340, n.number / 25 * 260
FROM bench.nodes n JOIN bench.boards k ON k.number = n.board_number ORDER BY n.number, n.board_number;
INSERT INTO resource_nodes (node_id, board_id, resource_type, title, content, processing_status)
SELECT n.node_id, k.board_id, 'text', 'Note ' || n.number, repeat('What we know, and what we still want to find out. ', 5),
       'completed'
FROM bench.nodes n JOIN bench.boards k ON k.number = n.board_number WHERE n.type = 'resource' ORDER BY n.number, n.board_number;
INSERT INTO chat_nodes (node_id, board_id)
SELECT n.node_id, k.board_id FROM bench.nodes n JOIN bench.boards k ON k.number = n.board_number WHERE n.type = 'chat';
INSERT INTO folder_nodes (node_id, board_id, name)
SELECT n.node_id, k.board_id, 'Folder ' || n.number
FROM bench.nodes n JOIN bench.boards k ON k.number = n.board_number WHERE n.type = 'folder';
