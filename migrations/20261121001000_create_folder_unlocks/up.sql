-- Folders with a password: who set it, who has opened them, and what lies in them.

ALTER TABLE folder_nodes ADD COLUMN locked_by uuid
    CONSTRAINT folder_nodes_locker_exists REFERENCES users (id) ON DELETE SET NULL;
COMMENT ON COLUMN folder_nodes.locked_by IS 'Who set the password: it does not shut them out.';

-- Hardly any folder has a password, and every read of a board asks which.
CREATE INDEX folder_nodes_locked ON folder_nodes (board_id, node_id) WHERE password_hash IS NOT NULL;
CREATE INDEX folder_nodes_locker ON folder_nodes (locked_by) WHERE locked_by IS NOT NULL;

CREATE TABLE folder_unlocks (
    token_digest bytea PRIMARY KEY,
    folder_id uuid NOT NULL CONSTRAINT folder_unlocks_folder_exists REFERENCES folder_nodes (node_id) ON DELETE CASCADE,
    principal_digest bytea NOT NULL,
    password_hash varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at timestamptz NOT NULL,
    CONSTRAINT folder_unlocks_digest_size CHECK (octet_length(token_digest) = 32)
);
COMMENT ON TABLE folder_unlocks IS 'Folders that somebody has opened with their password for a while.';
COMMENT ON COLUMN folder_unlocks.token_digest IS 'SHA-256 of the token that was handed out.';
COMMENT ON COLUMN folder_unlocks.folder_id IS 'The folder.';
COMMENT ON COLUMN folder_unlocks.principal_digest IS 'SHA-256 of who opened it; nobody else can use the token.';
COMMENT ON COLUMN folder_unlocks.password_hash IS 'Hash of the password that opened it: with another password it opens nothing.';
COMMENT ON COLUMN folder_unlocks.created_at IS 'When.';
COMMENT ON COLUMN folder_unlocks.expires_at IS 'End of its life.';

CREATE INDEX folder_unlocks_folder ON folder_unlocks (folder_id);
CREATE INDEX folder_unlocks_expiry ON folder_unlocks (expires_at);

-- Walks up from the node, so that its cost is the depth of the node and not the size of the folders.
CREATE FUNCTION lies_in(board uuid, node uuid, folders uuid[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, public AS $$
    WITH RECURSIVE around AS (
        SELECT h.parent_id FROM node_hierarchy h WHERE h.board_id = board AND h.child_id = node
        UNION ALL
        SELECT h.parent_id FROM around a JOIN node_hierarchy h ON h.board_id = board AND h.child_id = a.parent_id
    )
    SELECT EXISTS (SELECT FROM around WHERE parent_id = ANY (folders))
$$;
COMMENT ON FUNCTION lies_in(uuid, uuid, uuid[]) IS 'Whether a node lies in one of these folders, at any depth.';
