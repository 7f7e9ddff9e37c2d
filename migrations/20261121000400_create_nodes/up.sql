-- What lies on a board. Every foreign key inside a board is (board_id, …), so nothing can reach across boards.

CREATE TYPE node_type AS ENUM ('resource', 'chat', 'folder');
CREATE TYPE processing_status AS ENUM ('pending', 'processing', 'completed', 'failed');
CREATE TYPE resource_type AS ENUM (
    'text', 'url', 'pdf', 'image', 'video', 'audio', 'youtube', 'twitter', 'linkedin', 'document'
);
CREATE TYPE ai_model AS ENUM (
    'claude-3-opus', 'claude-3-sonnet', 'claude-3-haiku', 'gpt-4', 'gpt-4-turbo', 'gpt-3.5-turbo', 'custom'
);
CREATE TYPE connection_type AS ENUM ('data_flow', 'reference', 'hierarchy');
CREATE TYPE media_type AS ENUM ('image', 'video', 'audio', 'document', 'other');
CREATE TYPE storage_tier AS ENUM ('hot', 'cool', 'archive');
CREATE TYPE folder_sort_order AS ENUM ('manual', 'name', 'date', 'type');
CREATE TYPE chat_response_format AS ENUM ('text', 'json', 'markdown');

CREATE TABLE nodes (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL CONSTRAINT nodes_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    type node_type NOT NULL,
    x double precision NOT NULL DEFAULT 0,
    y double precision NOT NULL DEFAULT 0,
    width double precision NOT NULL DEFAULT 300,
    height double precision NOT NULL DEFAULT 200,
    z_index integer NOT NULL DEFAULT 0,
    is_locked boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at timestamptz,
    CONSTRAINT nodes_board_id_unique UNIQUE (board_id, id),
    CONSTRAINT nodes_place_finite CHECK (x BETWEEN -1e9 AND 1e9 AND y BETWEEN -1e9 AND 1e9),
    CONSTRAINT nodes_size_bounded CHECK (width BETWEEN 0 AND 1e6 AND height BETWEEN 0 AND 1e6),
    CONSTRAINT nodes_version_positive CHECK (version > 0)
);
COMMENT ON TABLE nodes IS 'Everything that lies on a board; the type-specific part is in resource_nodes, chat_nodes or folder_nodes.';
COMMENT ON COLUMN nodes.id IS 'Version 7 UUID; node_… in the API.';
COMMENT ON COLUMN nodes.board_id IS 'The board; a node never changes it.';
COMMENT ON COLUMN nodes.type IS 'Which of the three kinds.';
COMMENT ON COLUMN nodes.x IS 'Left edge, in pixels of the canvas.';
COMMENT ON COLUMN nodes.y IS 'Upper edge, in pixels of the canvas.';
COMMENT ON COLUMN nodes.width IS 'In pixels of the canvas.';
COMMENT ON COLUMN nodes.height IS 'In pixels of the canvas.';
COMMENT ON COLUMN nodes.z_index IS 'Higher lies above.';
COMMENT ON COLUMN nodes.is_locked IS 'Not to be moved by hand.';
COMMENT ON COLUMN nodes.metadata IS 'Free data of the frontend and of importers.';
COMMENT ON COLUMN nodes.version IS 'The board version of the last change of this node.';
COMMENT ON COLUMN nodes.created_at IS 'When it was made.';
COMMENT ON COLUMN nodes.updated_at IS 'When it last changed.';
COMMENT ON COLUMN nodes.deleted_at IS 'When it was deleted; null while it lives.';

-- What caches keep for ever, and what the counts of a board rely on.
CREATE TRIGGER nodes_board_and_type_fixed BEFORE UPDATE OF board_id, type ON nodes
    FOR EACH ROW WHEN (NEW.board_id <> OLD.board_id OR NEW.type <> OLD.type) EXECUTE FUNCTION refuse_change();

CREATE INDEX nodes_living ON nodes (board_id, id) WHERE deleted_at IS NULL;
CREATE INDEX nodes_living_type ON nodes (board_id, type, id) WHERE deleted_at IS NULL;
CREATE INDEX nodes_living_updated ON nodes (board_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX nodes_living_created ON nodes (board_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX nodes_living_z ON nodes (board_id, z_index, id) WHERE deleted_at IS NULL;
-- The viewport: a range over x, the rest filtered from the index.
CREATE INDEX nodes_living_x ON nodes (board_id, x) INCLUDE (y, width, height) WHERE deleted_at IS NULL;

CREATE TABLE media_objects (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    user_id uuid NOT NULL CONSTRAINT media_objects_user_exists REFERENCES users (id) ON DELETE CASCADE,
    original_filename varchar(500),
    s3_key varchar(1000) NOT NULL,
    s3_bucket varchar(255) NOT NULL,
    cdn_url text,
    mime_type varchar(255),
    media_type media_type NOT NULL DEFAULT 'other',
    size_bytes bigint,
    duration_seconds integer,
    width_pixels integer,
    height_pixels integer,
    thumbnail_s3_key varchar(1000),
    storage_tier storage_tier NOT NULL DEFAULT 'hot',
    checksum varchar(64),
    metadata jsonb NOT NULL DEFAULT '{}',
    virus_scan_status varchar(50) NOT NULL DEFAULT 'pending',
    virus_scan_result jsonb,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    accessed_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT media_objects_key_unique UNIQUE (s3_bucket, s3_key),
    CONSTRAINT media_objects_size_positive CHECK (size_bytes >= 0)
);
COMMENT ON TABLE media_objects IS 'Stored files.';
COMMENT ON COLUMN media_objects.id IS 'Version 7 UUID; media_… in the API.';
COMMENT ON COLUMN media_objects.user_id IS 'Who uploaded it.';
COMMENT ON COLUMN media_objects.original_filename IS 'Name it had at its owner; shown, never used as a path.';
COMMENT ON COLUMN media_objects.s3_key IS 'Key in the store.';
COMMENT ON COLUMN media_objects.s3_bucket IS 'Bucket, or folder of the local store.';
COMMENT ON COLUMN media_objects.cdn_url IS 'Public address, when there is one.';
COMMENT ON COLUMN media_objects.mime_type IS 'Type by content.';
COMMENT ON COLUMN media_objects.media_type IS 'Coarse kind.';
COMMENT ON COLUMN media_objects.size_bytes IS 'Size.';
COMMENT ON COLUMN media_objects.duration_seconds IS 'Length of video and audio.';
COMMENT ON COLUMN media_objects.width_pixels IS 'Width of images and video.';
COMMENT ON COLUMN media_objects.height_pixels IS 'Height of images and video.';
COMMENT ON COLUMN media_objects.thumbnail_s3_key IS 'Key of the preview.';
COMMENT ON COLUMN media_objects.storage_tier IS 'Where it is kept.';
COMMENT ON COLUMN media_objects.checksum IS 'SHA-256 of the content, in hex.';
COMMENT ON COLUMN media_objects.metadata IS 'What extraction found.';
COMMENT ON COLUMN media_objects.virus_scan_status IS 'State of the scan.';
COMMENT ON COLUMN media_objects.virus_scan_result IS 'What the scan said.';
COMMENT ON COLUMN media_objects.created_at IS 'When it was uploaded.';
COMMENT ON COLUMN media_objects.accessed_at IS 'Last download, to the day.';

CREATE INDEX media_objects_user ON media_objects (user_id, created_at, id);
CREATE INDEX media_objects_type ON media_objects (media_type);

CREATE TABLE resource_nodes (
    node_id uuid PRIMARY KEY,
    board_id uuid NOT NULL,
    resource_type resource_type NOT NULL,
    title varchar(500),
    title_key text COLLATE "C" GENERATED ALWAYS AS (name_key(title)) STORED,
    content text,
    url text,
    media_id uuid CONSTRAINT resource_nodes_media_exists REFERENCES media_objects (id) ON DELETE SET NULL,
    processing_status processing_status NOT NULL DEFAULT 'pending',
    processing_error text,
    extracted_text text,
    summary text,
    key_points text[] NOT NULL DEFAULT '{}',
    language varchar(10),
    word_count integer,
    reading_time integer,
    embeddings_generated boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT resource_nodes_node_exists FOREIGN KEY (board_id, node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE resource_nodes IS 'Resources: texts, links, documents, media.';
COMMENT ON COLUMN resource_nodes.node_id IS 'The node.';
COMMENT ON COLUMN resource_nodes.board_id IS 'The board of the node.';
COMMENT ON COLUMN resource_nodes.resource_type IS 'What kind of resource.';
COMMENT ON COLUMN resource_nodes.title IS 'Title.';
COMMENT ON COLUMN resource_nodes.title_key IS 'Folded title: what nodes are sorted by.';
COMMENT ON COLUMN resource_nodes.content IS 'The text itself, for kinds that have one.';
COMMENT ON COLUMN resource_nodes.url IS 'Where it came from.';
COMMENT ON COLUMN resource_nodes.media_id IS 'The stored file.';
COMMENT ON COLUMN resource_nodes.processing_status IS 'How far extraction is.';
COMMENT ON COLUMN resource_nodes.processing_error IS 'Why extraction failed.';
COMMENT ON COLUMN resource_nodes.extracted_text IS 'Text found in the file or behind the link.';
COMMENT ON COLUMN resource_nodes.summary IS 'Summary, when one was made.';
COMMENT ON COLUMN resource_nodes.key_points IS 'Main points, when they were made.';
COMMENT ON COLUMN resource_nodes.language IS 'BCP 47 tag of the text.';
COMMENT ON COLUMN resource_nodes.word_count IS 'Words in the text.';
COMMENT ON COLUMN resource_nodes.reading_time IS 'Seconds, at 200 words a minute.';
COMMENT ON COLUMN resource_nodes.embeddings_generated IS 'Whether the text is in the vector index of the active generation.';
COMMENT ON COLUMN resource_nodes.metadata IS 'Data of this kind of resource.';

CREATE INDEX resource_nodes_node ON resource_nodes (board_id, node_id);
CREATE INDEX resource_nodes_status ON resource_nodes (processing_status) WHERE processing_status <> 'completed';
CREATE INDEX resource_nodes_media ON resource_nodes (media_id) WHERE media_id IS NOT NULL;

CREATE TABLE chat_nodes (
    node_id uuid PRIMARY KEY,
    board_id uuid NOT NULL,
    ai_model ai_model NOT NULL DEFAULT 'claude-3-sonnet',
    custom_model_endpoint text,
    system_prompt text,
    temperature real NOT NULL DEFAULT 0.7,
    max_tokens integer NOT NULL DEFAULT 4000,
    top_p real NOT NULL DEFAULT 1.0,
    frequency_penalty real NOT NULL DEFAULT 0,
    presence_penalty real NOT NULL DEFAULT 0,
    stop_sequences text[] NOT NULL DEFAULT '{}',
    response_format chat_response_format NOT NULL DEFAULT 'text',
    tools_enabled boolean NOT NULL DEFAULT false,
    memory_enabled boolean NOT NULL DEFAULT true,
    context_window_size integer NOT NULL DEFAULT 10,
    CONSTRAINT chat_nodes_node_exists FOREIGN KEY (board_id, node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT chat_nodes_board_unique UNIQUE (board_id, node_id),
    CONSTRAINT chat_nodes_temperature_range CHECK (temperature BETWEEN 0 AND 2),
    CONSTRAINT chat_nodes_max_tokens_positive CHECK (max_tokens > 0),
    CONSTRAINT chat_nodes_top_p_range CHECK (top_p BETWEEN 0 AND 1),
    CONSTRAINT chat_nodes_frequency_penalty_range CHECK (frequency_penalty BETWEEN -2 AND 2),
    CONSTRAINT chat_nodes_presence_penalty_range CHECK (presence_penalty BETWEEN -2 AND 2),
    CONSTRAINT chat_nodes_context_window_positive CHECK (context_window_size >= 0)
);
COMMENT ON TABLE chat_nodes IS 'AI chats: the configuration; conversations are chat_sessions.';
COMMENT ON COLUMN chat_nodes.node_id IS 'The node.';
COMMENT ON COLUMN chat_nodes.board_id IS 'The board of the node.';
COMMENT ON COLUMN chat_nodes.ai_model IS 'Which model answers.';
COMMENT ON COLUMN chat_nodes.custom_model_endpoint IS 'Address of the model when it is a custom one.';
COMMENT ON COLUMN chat_nodes.system_prompt IS 'Instruction that precedes each conversation.';
COMMENT ON COLUMN chat_nodes.temperature IS '0 to 2.';
COMMENT ON COLUMN chat_nodes.max_tokens IS 'Longest answer, in tokens.';
COMMENT ON COLUMN chat_nodes.top_p IS '0 to 1.';
COMMENT ON COLUMN chat_nodes.frequency_penalty IS '-2 to 2.';
COMMENT ON COLUMN chat_nodes.presence_penalty IS '-2 to 2.';
COMMENT ON COLUMN chat_nodes.stop_sequences IS 'Texts that end an answer.';
COMMENT ON COLUMN chat_nodes.response_format IS 'What form answers have.';
COMMENT ON COLUMN chat_nodes.tools_enabled IS 'Whether the model may call tools.';
COMMENT ON COLUMN chat_nodes.memory_enabled IS 'Whether earlier messages are sent along.';
COMMENT ON COLUMN chat_nodes.context_window_size IS 'How many earlier messages.';

CREATE TABLE folder_nodes (
    node_id uuid PRIMARY KEY,
    board_id uuid NOT NULL,
    name varchar(255) NOT NULL,
    name_key text COLLATE "C" GENERATED ALWAYS AS (name_key(name)) STORED,
    description text,
    color varchar(7) NOT NULL DEFAULT '#6B7280',
    icon varchar(50) NOT NULL DEFAULT 'folder',
    expanded boolean NOT NULL DEFAULT true,
    sort_order folder_sort_order NOT NULL DEFAULT 'manual',
    max_items integer,
    password_hash varchar(255),
    CONSTRAINT folder_nodes_node_exists FOREIGN KEY (board_id, node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT folder_nodes_board_unique UNIQUE (board_id, node_id),
    CONSTRAINT folder_nodes_color_hex CHECK (color ~ '^#[0-9A-Fa-f]{6}$'),
    CONSTRAINT folder_nodes_max_items_positive CHECK (max_items > 0)
);
COMMENT ON TABLE folder_nodes IS 'Folders.';
COMMENT ON COLUMN folder_nodes.node_id IS 'The node.';
COMMENT ON COLUMN folder_nodes.board_id IS 'The board of the node.';
COMMENT ON COLUMN folder_nodes.name IS 'Name.';
COMMENT ON COLUMN folder_nodes.name_key IS 'Folded name: what nodes are sorted by.';
COMMENT ON COLUMN folder_nodes.description IS 'What is in it.';
COMMENT ON COLUMN folder_nodes.color IS '#RRGGBB.';
COMMENT ON COLUMN folder_nodes.icon IS 'Name of an icon of the frontend.';
COMMENT ON COLUMN folder_nodes.expanded IS 'Whether it is drawn open.';
COMMENT ON COLUMN folder_nodes.sort_order IS 'In which order its content is listed.';
COMMENT ON COLUMN folder_nodes.max_items IS 'How many nodes it may hold directly; null for any number.';
COMMENT ON COLUMN folder_nodes.password_hash IS 'argon2id hash of the password; null when it has none.';

CREATE TABLE node_hierarchy (
    child_id uuid PRIMARY KEY,
    board_id uuid NOT NULL,
    parent_id uuid NOT NULL,
    position double precision NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT node_hierarchy_child_exists FOREIGN KEY (board_id, child_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT node_hierarchy_parent_is_folder FOREIGN KEY (board_id, parent_id) REFERENCES folder_nodes (board_id, node_id) ON DELETE CASCADE,
    CONSTRAINT node_hierarchy_not_itself CHECK (parent_id <> child_id),
    CONSTRAINT node_hierarchy_position_finite CHECK (position BETWEEN -1e300 AND 1e300)
);
COMMENT ON TABLE node_hierarchy IS 'Which node lies in which folder.';
COMMENT ON COLUMN node_hierarchy.child_id IS 'The node; at most one folder holds it.';
COMMENT ON COLUMN node_hierarchy.board_id IS 'The board of both.';
COMMENT ON COLUMN node_hierarchy.parent_id IS 'The folder.';
COMMENT ON COLUMN node_hierarchy.position IS 'Place among its siblings; a new place is found between two without renumbering the rest.';
COMMENT ON COLUMN node_hierarchy.created_at IS 'When it was placed there.';

CREATE INDEX node_hierarchy_children ON node_hierarchy (board_id, parent_id, position, child_id);
CREATE INDEX node_hierarchy_child ON node_hierarchy (board_id, child_id);

-- A folder never contains itself, at any depth. The board row is locked first, so that two transactions that each see only
-- half of a cycle cannot both commit; inserting nodes, which refers to the board row, goes on meanwhile. (Two transactions
-- at REPEATABLE READ would not see each other's half: write at READ COMMITTED, or change the board row first.)
-- Only folders can close a cycle. A folder that moves takes its subtree along, so all folders below are looked at.
CREATE FUNCTION check_folder_cycle() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
    -- Its plans are kept, and may have been made while the tables were empty: without this they read them whole ever after.
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    bad record;
BEGIN
    PERFORM 1 FROM boards WHERE id IN (SELECT board_id FROM placed) ORDER BY id FOR NO KEY UPDATE;
    WITH RECURSIVE moved AS (
        SELECT p.board_id, p.child_id AS id
        FROM placed p JOIN folder_nodes f ON f.board_id = p.board_id AND f.node_id = p.child_id
        UNION
        SELECT h.board_id, h.child_id
        FROM moved m
        JOIN node_hierarchy h ON h.board_id = m.board_id AND h.parent_id = m.id
        JOIN folder_nodes f ON f.board_id = h.board_id AND f.node_id = h.child_id
    ), up AS (
        SELECT m.board_id, m.id AS start_id, m.id AS at_id, 1 AS level, false AS is_cycle FROM moved m
        UNION ALL
        SELECT up.board_id, up.start_id, h.parent_id, up.level + 1, h.parent_id = up.start_id
        FROM up JOIN node_hierarchy h ON h.board_id = up.board_id AND h.child_id = up.at_id
        WHERE up.level <= 64 AND NOT up.is_cycle
    )
    -- A folder below a cycle seems to nest without end; the cycle itself is the better reason.
    SELECT start_id, is_cycle INTO bad FROM up WHERE is_cycle OR level > 64 ORDER BY is_cycle DESC LIMIT 1;
    IF bad.is_cycle THEN
        RAISE EXCEPTION 'folder % would contain itself', bad.start_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'node_hierarchy_no_cycle', TABLE = 'node_hierarchy';
    ELSIF FOUND THEN
        RAISE EXCEPTION 'folder % would nest deeper than 64 levels', bad.start_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'node_hierarchy_depth', TABLE = 'node_hierarchy';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION check_folder_cycle() IS 'Refuses placements by which a folder would contain itself, or nest deeper than 64 levels.';
CREATE TRIGGER node_hierarchy_no_cycle_insert AFTER INSERT ON node_hierarchy
    REFERENCING NEW TABLE AS placed FOR EACH STATEMENT EXECUTE FUNCTION check_folder_cycle();
CREATE TRIGGER node_hierarchy_no_cycle_update AFTER UPDATE ON node_hierarchy
    REFERENCING NEW TABLE AS placed FOR EACH STATEMENT EXECUTE FUNCTION check_folder_cycle();

CREATE TABLE connections (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL CONSTRAINT connections_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    from_node_id uuid NOT NULL,
    to_node_id uuid NOT NULL,
    connection_type connection_type NOT NULL DEFAULT 'data_flow',
    label varchar(255),
    style jsonb NOT NULL DEFAULT '{"stroke": "dashed", "color": "#9CA3AF"}',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT connections_start_exists FOREIGN KEY (board_id, from_node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT connections_end_exists FOREIGN KEY (board_id, to_node_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE,
    CONSTRAINT connections_once UNIQUE (board_id, from_node_id, to_node_id, connection_type),
    CONSTRAINT connections_not_to_itself CHECK (from_node_id <> to_node_id)
);
COMMENT ON TABLE connections IS 'Links between nodes of one board.';
COMMENT ON COLUMN connections.id IS 'Version 7 UUID; link_… in the API.';
COMMENT ON COLUMN connections.board_id IS 'The board of both ends.';
COMMENT ON COLUMN connections.from_node_id IS 'Where it starts.';
COMMENT ON COLUMN connections.to_node_id IS 'Where it ends.';
COMMENT ON COLUMN connections.connection_type IS 'What it means.';
COMMENT ON COLUMN connections.label IS 'Text on the line.';
COMMENT ON COLUMN connections.style IS 'How it is drawn.';
COMMENT ON COLUMN connections.metadata IS 'Free data of the frontend and of importers.';
COMMENT ON COLUMN connections.created_at IS 'When it was made.';

-- Another end is another link.
CREATE TRIGGER connections_ends_fixed BEFORE UPDATE OF board_id, from_node_id, to_node_id ON connections
    FOR EACH ROW
    WHEN ((NEW.board_id, NEW.from_node_id, NEW.to_node_id) IS DISTINCT FROM (OLD.board_id, OLD.from_node_id, OLD.to_node_id))
    EXECUTE FUNCTION refuse_change();

CREATE INDEX connections_board ON connections (board_id, id);
CREATE INDEX connections_from ON connections (board_id, from_node_id, id);
CREATE INDEX connections_to ON connections (board_id, to_node_id, id);
