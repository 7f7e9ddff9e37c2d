-- Boards and who may see them.

CREATE TABLE boards (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    user_id uuid NOT NULL CONSTRAINT boards_owner_exists REFERENCES users (id) ON DELETE CASCADE,
    name varchar(255) NOT NULL,
    name_key text COLLATE "C" GENERATED ALWAYS AS (name_key(name)) STORED,
    description text,
    thumbnail_url text,
    settings jsonb NOT NULL DEFAULT '{"theme": "light", "gridSnap": true, "gridSize": 20, "showMinimap": true, "autoSave": true}',
    is_public boolean NOT NULL DEFAULT false,
    is_template boolean NOT NULL DEFAULT false,
    view_count integer NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at timestamptz,
    CONSTRAINT boards_name_not_empty CHECK (name <> ''),
    CONSTRAINT boards_version_positive CHECK (version > 0),
    CONSTRAINT boards_view_count_positive CHECK (view_count >= 0)
);
COMMENT ON TABLE boards IS 'Boards: the unit of permission, caching, versions and events.';
COMMENT ON COLUMN boards.id IS 'Version 7 UUID; board_… in the API.';
COMMENT ON COLUMN boards.user_id IS 'The owner.';
COMMENT ON COLUMN boards.name IS 'Unique per owner among the living.';
COMMENT ON COLUMN boards.name_key IS 'Folded name: what boards are sorted and found by.';
COMMENT ON COLUMN boards.description IS 'What the board is about.';
COMMENT ON COLUMN boards.thumbnail_url IS 'Address of a picture, when one was set.';
COMMENT ON COLUMN boards.settings IS 'Theme, gridSnap, gridSize in pixels, showMinimap, autoSave.';
COMMENT ON COLUMN boards.is_public IS 'Readable by anyone.';
COMMENT ON COLUMN boards.is_template IS 'Readable by anyone, listed among the templates.';
COMMENT ON COLUMN boards.view_count IS 'How often the board was opened.';
COMMENT ON COLUMN boards.version IS 'Grows by one with every committed change; also the order of its events.';
COMMENT ON COLUMN boards.created_at IS 'When it was made.';
COMMENT ON COLUMN boards.updated_at IS 'When it, or anything on it, last changed.';
COMMENT ON COLUMN boards.deleted_at IS 'When it was deleted; null while it lives.';

-- A partial unique index, because a unique constraint cannot be partial.
CREATE UNIQUE INDEX boards_owner_name_unique ON boards (user_id, name) WHERE deleted_at IS NULL;
-- One index per order in which boards are listed, the id last: it makes the order total and the cursor exact.
CREATE INDEX boards_owner_updated ON boards (user_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX boards_owner_created ON boards (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX boards_owner_name ON boards (user_id, name_key, id) WHERE deleted_at IS NULL;
CREATE INDEX boards_owner ON boards (user_id);
CREATE INDEX boards_template ON boards (updated_at, id) WHERE is_template AND deleted_at IS NULL;
CREATE INDEX boards_public ON boards (updated_at, id) WHERE is_public AND deleted_at IS NULL;

CREATE TYPE share_permission AS ENUM ('view', 'comment', 'edit');
COMMENT ON TYPE share_permission IS 'What a share or a collaborator may do; owning cannot be given away.';

CREATE TABLE board_collaborators (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL CONSTRAINT board_collaborators_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    user_id uuid NOT NULL CONSTRAINT board_collaborators_user_exists REFERENCES users (id) ON DELETE CASCADE,
    role share_permission NOT NULL,
    invited_by uuid CONSTRAINT board_collaborators_inviter_exists REFERENCES users (id) ON DELETE SET NULL,
    accepted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT board_collaborators_once UNIQUE (board_id, user_id)
);
COMMENT ON TABLE board_collaborators IS 'People who were invited to a board.';
COMMENT ON COLUMN board_collaborators.id IS 'Version 7 UUID.';
COMMENT ON COLUMN board_collaborators.board_id IS 'The board.';
COMMENT ON COLUMN board_collaborators.user_id IS 'Who was invited.';
COMMENT ON COLUMN board_collaborators.role IS 'What they may do.';
COMMENT ON COLUMN board_collaborators.invited_by IS 'Who invited them.';
COMMENT ON COLUMN board_collaborators.accepted_at IS 'When the invitation was accepted; it gives no right before.';
COMMENT ON COLUMN board_collaborators.created_at IS 'When the invitation was sent.';

CREATE INDEX board_collaborators_user ON board_collaborators (user_id, board_id);
CREATE INDEX board_collaborators_inviter ON board_collaborators (invited_by);

CREATE TABLE board_shares (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL CONSTRAINT board_shares_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    shared_by uuid NOT NULL CONSTRAINT board_shares_sharer_exists REFERENCES users (id) ON DELETE CASCADE,
    token_digest bytea NOT NULL,
    permission share_permission NOT NULL DEFAULT 'view',
    password_hash varchar(255),
    max_uses integer,
    use_count integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_accessed_at timestamptz,
    CONSTRAINT board_shares_digest_unique UNIQUE (token_digest),
    CONSTRAINT board_shares_digest_size CHECK (octet_length(token_digest) = 32),
    CONSTRAINT board_shares_max_uses_positive CHECK (max_uses > 0),
    CONSTRAINT board_shares_use_count_bounded CHECK (use_count >= 0 AND (max_uses IS NULL OR use_count <= max_uses))
);
COMMENT ON TABLE board_shares IS 'Links that open a board to whoever holds them.';
COMMENT ON COLUMN board_shares.id IS 'Version 7 UUID; share_… in the API.';
COMMENT ON COLUMN board_shares.board_id IS 'The board.';
COMMENT ON COLUMN board_shares.shared_by IS 'Who made the link.';
COMMENT ON COLUMN board_shares.token_digest IS 'SHA-256 of the token; the token is shown once.';
COMMENT ON COLUMN board_shares.permission IS 'What its holder may do.';
COMMENT ON COLUMN board_shares.password_hash IS 'argon2id hash of the password, when one is asked for.';
COMMENT ON COLUMN board_shares.max_uses IS 'How many principals may redeem it; null for any number.';
COMMENT ON COLUMN board_shares.use_count IS 'How many have.';
COMMENT ON COLUMN board_shares.expires_at IS 'End of its life; null for none.';
COMMENT ON COLUMN board_shares.revoked_at IS 'When it was revoked.';
COMMENT ON COLUMN board_shares.created_at IS 'When it was made.';
COMMENT ON COLUMN board_shares.last_accessed_at IS 'Last redemption.';

CREATE INDEX board_shares_board ON board_shares (board_id);
CREATE INDEX board_shares_sharer ON board_shares (shared_by);

CREATE TABLE board_share_uses (
    share_id uuid NOT NULL CONSTRAINT board_share_uses_share_exists REFERENCES board_shares (id) ON DELETE CASCADE,
    principal_digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT board_share_uses_once PRIMARY KEY (share_id, principal_digest)
);
COMMENT ON TABLE board_share_uses IS 'First redemptions of share links: one row is one use.';
COMMENT ON COLUMN board_share_uses.share_id IS 'The link.';
COMMENT ON COLUMN board_share_uses.principal_digest IS 'SHA-256 of who redeemed it: the account, or the address of an anonymous caller.';
COMMENT ON COLUMN board_share_uses.created_at IS 'When.';
