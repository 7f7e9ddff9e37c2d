-- Counts of each board, exact at every moment.

CREATE TABLE board_stats (
    board_id uuid PRIMARY KEY CONSTRAINT board_stats_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    node_count integer NOT NULL DEFAULT 0,
    connection_count integer NOT NULL DEFAULT 0,
    resource_count integer NOT NULL DEFAULT 0,
    chat_count integer NOT NULL DEFAULT 0,
    folder_count integer NOT NULL DEFAULT 0,
    last_modified timestamptz
);
COMMENT ON TABLE board_stats IS 'Counts of what lives on a board. A table kept by triggers and not a materialized view, which would be stale between refreshes.';
COMMENT ON COLUMN board_stats.board_id IS 'The board.';
COMMENT ON COLUMN board_stats.node_count IS 'Living nodes.';
COMMENT ON COLUMN board_stats.connection_count IS 'Links between living nodes.';
COMMENT ON COLUMN board_stats.resource_count IS 'Living resources.';
COMMENT ON COLUMN board_stats.chat_count IS 'Living chats.';
COMMENT ON COLUMN board_stats.folder_count IS 'Living folders.';
COMMENT ON COLUMN board_stats.last_modified IS 'When something on the board last changed.';

-- Additions are added up; anything that can hide or show a node makes its board count anew, because links go with nodes.
-- Whoever counts what others change locks the row of counts first: the statement after the lock then sees what they did.
CREATE FUNCTION board_stats_add_board() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    INSERT INTO board_stats (board_id) SELECT id FROM added ON CONFLICT (board_id) DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION board_stats_add_board() IS 'Every board has its row of counts from the start.';
CREATE TRIGGER boards_stats_insert AFTER INSERT ON boards
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION board_stats_add_board();

CREATE FUNCTION board_stats_recount(board_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    PERFORM 1 FROM board_stats WHERE board_id = ANY (board_ids) ORDER BY board_id FOR NO KEY UPDATE;
    UPDATE board_stats s
    SET node_count = n.nodes, resource_count = n.resources, chat_count = n.chats, folder_count = n.folders,
        connection_count = (
            SELECT count(*) FROM connections c
            JOIN nodes f ON f.board_id = c.board_id AND f.id = c.from_node_id AND f.deleted_at IS NULL
            JOIN nodes t ON t.board_id = c.board_id AND t.id = c.to_node_id AND t.deleted_at IS NULL
            WHERE c.board_id = s.board_id),
        last_modified = clock_timestamp()
    FROM unnest(board_ids) AS b (id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS nodes, count(*) FILTER (WHERE type = 'resource') AS resources,
               count(*) FILTER (WHERE type = 'chat') AS chats, count(*) FILTER (WHERE type = 'folder') AS folders
        FROM nodes WHERE board_id = b.id AND deleted_at IS NULL) AS n
    WHERE s.board_id = b.id;
END
$$;
COMMENT ON FUNCTION board_stats_recount(uuid[]) IS 'Counts the named boards anew.';

CREATE FUNCTION board_stats_follow_nodes() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE board_stats s
        SET node_count = node_count + a.nodes, resource_count = resource_count + a.resources,
            chat_count = chat_count + a.chats, folder_count = folder_count + a.folders, last_modified = clock_timestamp()
        FROM (SELECT board_id, count(*) AS nodes, count(*) FILTER (WHERE type = 'resource') AS resources,
                     count(*) FILTER (WHERE type = 'chat') AS chats, count(*) FILTER (WHERE type = 'folder') AS folders
              FROM new_rows WHERE deleted_at IS NULL GROUP BY board_id) AS a
        WHERE s.board_id = a.board_id;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM board_stats_recount(ARRAY(SELECT DISTINCT board_id FROM old_rows));
    ELSE
        PERFORM board_stats_recount(ids) FROM (SELECT ARRAY(
            SELECT DISTINCT n.board_id FROM new_rows n JOIN old_rows o USING (id)
            WHERE (n.deleted_at IS NULL) <> (o.deleted_at IS NULL)) AS ids) AS changed
        WHERE cardinality(ids) > 0;
        UPDATE board_stats SET last_modified = clock_timestamp()
        WHERE board_id IN (SELECT DISTINCT board_id FROM new_rows);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION board_stats_follow_nodes() IS 'Keeps board_stats true when nodes come, go, or change.';
CREATE TRIGGER nodes_stats_insert AFTER INSERT ON nodes
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION board_stats_follow_nodes();
CREATE TRIGGER nodes_stats_update AFTER UPDATE ON nodes
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION board_stats_follow_nodes();
CREATE TRIGGER nodes_stats_delete AFTER DELETE ON nodes
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION board_stats_follow_nodes();

CREATE FUNCTION board_stats_follow_connections() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    PERFORM 1 FROM board_stats WHERE board_id IN (SELECT board_id FROM changed) ORDER BY board_id FOR NO KEY UPDATE;
    UPDATE board_stats s
    SET connection_count = connection_count + a.added, last_modified = clock_timestamp()
    FROM (SELECT c.board_id, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END AS added
          FROM changed c
          JOIN nodes f ON f.board_id = c.board_id AND f.id = c.from_node_id AND f.deleted_at IS NULL
          JOIN nodes t ON t.board_id = c.board_id AND t.id = c.to_node_id AND t.deleted_at IS NULL
          GROUP BY c.board_id) AS a
    WHERE s.board_id = a.board_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION board_stats_follow_connections() IS 'Keeps board_stats true when links come or go.';
CREATE TRIGGER connections_stats_insert AFTER INSERT ON connections
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION board_stats_follow_connections();
CREATE TRIGGER connections_stats_delete AFTER DELETE ON connections
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION board_stats_follow_connections();
