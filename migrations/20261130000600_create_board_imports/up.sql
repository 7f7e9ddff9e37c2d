-- Imports into one board take turns. They commit in slices, so no lock of a row or transaction lasts as long as an import;
-- a row here does, and it ends by itself when its import died.

CREATE TABLE board_imports (
    user_id uuid NOT NULL CONSTRAINT board_imports_user_exists REFERENCES users (id) ON DELETE CASCADE,
    board_name varchar(255) NOT NULL,
    holder uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, board_name)
);
COMMENT ON TABLE board_imports IS 'Imports under way: a row is a turn that somebody has.';
COMMENT ON COLUMN board_imports.user_id IS 'Whose board is imported into.';
COMMENT ON COLUMN board_imports.board_name IS 'Name of the board, which may not be there yet.';
COMMENT ON COLUMN board_imports.holder IS 'Version 7 UUID that the import chose for itself.';
COMMENT ON COLUMN board_imports.expires_at IS 'When the turn ends unless the import prolongs it.';
