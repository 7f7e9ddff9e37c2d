-- Who is on which board at this moment. It is written often and worth nothing a minute later, so the database's own log is
-- spared it: after a crash the table is empty, and filled again by the next second. For the same reason nothing refers to
-- boards and accounts: each such reference would lock their rows, for a row that goes by itself.

CREATE UNLOGGED TABLE board_presence (
    board_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid,
    mark bigint NOT NULL,
    cursor_x double precision,
    cursor_y double precision,
    selection uuid[] NOT NULL DEFAULT '{}',
    state jsonb,
    is_here boolean NOT NULL DEFAULT true,
    seen_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (board_id, id)
    -- Room in every page: an update stays there and touches no index.
) WITH (fillfactor = 50);
COMMENT ON TABLE board_presence IS 'Who is on which board at this moment, for a minute; empty after a crash of the database.';
COMMENT ON COLUMN board_presence.board_id IS 'The board.';
COMMENT ON COLUMN board_presence.id IS 'One window of one person on this board: derived from who it is and what the client calls it.';
COMMENT ON COLUMN board_presence.user_id IS 'Whose it is; null for holders of a share link.';
COMMENT ON COLUMN board_presence.mark IS 'Tells one update from the next.';
COMMENT ON COLUMN board_presence.cursor_x IS 'Where the cursor is, in pixels of the canvas to the right; null when it is nowhere.';
COMMENT ON COLUMN board_presence.cursor_y IS 'The same downwards.';
COMMENT ON COLUMN board_presence.selection IS 'Ids of the nodes that are selected, at most 100.';
COMMENT ON COLUMN board_presence.state IS 'What else the frontend says, at most 1024 bytes.';
COMMENT ON COLUMN board_presence.is_here IS 'False when the person said goodbye.';
COMMENT ON COLUMN board_presence.seen_at IS 'When it was written, by the clock of the database.';
