-- How much accounts store, exact at every moment, for limits.

SET LOCAL lock_timeout = '5s';

-- In the order in which those who write take them, so that nobody waits in a circle.
LOCK TABLE nodes, resource_nodes, chat_nodes, folder_nodes, connections, board_stats IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE board_stats
    ADD COLUMN living_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN stored_nodes integer NOT NULL DEFAULT 0,
    ADD COLUMN stored_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN link_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN bytes_counted boolean NOT NULL DEFAULT false;
-- What is there already is counted while servers run (board_bytes_count); what comes is counted from the start.
ALTER TABLE board_stats ALTER COLUMN bytes_counted SET DEFAULT true;
CREATE INDEX board_stats_not_counted ON board_stats (board_id) WHERE NOT bytes_counted;
COMMENT ON COLUMN board_stats.living_bytes IS 'Bytes of texts, prompts, descriptions and metadata of living nodes.';
COMMENT ON COLUMN board_stats.stored_nodes IS 'Nodes, deleted ones included.';
COMMENT ON COLUMN board_stats.stored_bytes IS 'Bytes as in living_bytes, deleted nodes included.';
COMMENT ON COLUMN board_stats.link_bytes IS 'Bytes of labels, styles and metadata of links.';
COMMENT ON COLUMN board_stats.bytes_counted IS 'Whether the bytes are those of all that is there; before, only of what came or changed since.';

CREATE TABLE account_copies (
    user_id uuid PRIMARY KEY CONSTRAINT account_copies_user_exists REFERENCES users (id) ON DELETE CASCADE,
    day date NOT NULL DEFAULT CURRENT_DATE,
    copies integer NOT NULL DEFAULT 0,
    CONSTRAINT account_copies_positive CHECK (copies >= 0)
);
COMMENT ON TABLE account_copies IS 'How many boards accounts have copied on the last day they did.';
COMMENT ON COLUMN account_copies.user_id IS 'The account.';
COMMENT ON COLUMN account_copies.day IS 'The day, by the time zone of the database.';
COMMENT ON COLUMN account_copies.copies IS 'Boards copied on that day.';

-- What of a node counts. Texts are measured without being read: their length is known where they are stored apart.
CREATE FUNCTION node_bytes(node uuid) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, public
AS $$
    SELECT octet_length(n.metadata::text)::bigint
        + coalesce(octet_length(r.title), 0) + coalesce(octet_length(r.content), 0) + coalesce(octet_length(r.url), 0)
        + coalesce(octet_length(r.extracted_text), 0) + coalesce(octet_length(r.summary), 0)
        + coalesce(octet_length(r.metadata::text), 0)
        + coalesce(octet_length(c.system_prompt), 0)
        + coalesce(octet_length(f.name), 0) + coalesce(octet_length(f.description), 0)
    FROM nodes n LEFT JOIN resource_nodes r ON r.node_id = n.id LEFT JOIN chat_nodes c ON c.node_id = n.id
    LEFT JOIN folder_nodes f ON f.node_id = n.id WHERE n.id = node
$$;
COMMENT ON FUNCTION node_bytes(uuid) IS 'Bytes of a node and its kind that count against the limits of its account.';

CREATE FUNCTION board_bytes_recount(board_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    PERFORM 1 FROM board_stats WHERE board_id = ANY (board_ids) ORDER BY board_id FOR NO KEY UPDATE;
    UPDATE board_stats s SET stored_nodes = t.nodes, stored_bytes = t.bytes, living_bytes = t.living
    FROM unnest(board_ids) AS b (id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS nodes, coalesce(sum(m.bytes), 0) AS bytes,
            coalesce(sum(m.bytes) FILTER (WHERE n.deleted_at IS NULL), 0) AS living
        FROM nodes n CROSS JOIN LATERAL (SELECT node_bytes(n.id) AS bytes) AS m WHERE n.board_id = b.id) AS t
    WHERE s.board_id = b.id;
END
$$;
COMMENT ON FUNCTION board_bytes_recount(uuid[]) IS 'Counts the bytes of the nodes of the named boards anew.';

-- The rows of nodes, and everything of a node where it is deleted or comes back. Where rows are removed for good, what belonged to
-- them is gone already: the board is counted anew.
CREATE FUNCTION board_bytes_follow_nodes() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE board_stats s SET stored_nodes = stored_nodes + a.nodes, stored_bytes = stored_bytes + a.bytes,
            living_bytes = living_bytes + a.living
        FROM (SELECT n.board_id, count(*) AS nodes, sum(octet_length(n.metadata::text)) AS bytes,
                coalesce(sum(octet_length(n.metadata::text)) FILTER (WHERE n.deleted_at IS NULL), 0) AS living
            FROM new_rows n GROUP BY n.board_id) AS a
        WHERE s.board_id = a.board_id;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM board_bytes_recount(ARRAY(SELECT DISTINCT board_id FROM old_rows));
    ELSE
        UPDATE board_stats s SET stored_bytes = stored_bytes + a.bytes, living_bytes = living_bytes + a.living
        FROM (SELECT n.board_id, sum(octet_length(n.metadata::text) - octet_length(o.metadata::text)) AS bytes,
                sum(CASE WHEN n.deleted_at IS NULL AND o.deleted_at IS NULL
                        THEN octet_length(n.metadata::text) - octet_length(o.metadata::text)
                    WHEN n.deleted_at IS NULL THEN node_bytes(n.id)
                    WHEN o.deleted_at IS NULL THEN octet_length(n.metadata::text) - octet_length(o.metadata::text) - node_bytes(n.id)
                    ELSE 0 END) AS living
            FROM new_rows n JOIN old_rows o USING (id)
            WHERE n.metadata IS DISTINCT FROM o.metadata OR (n.deleted_at IS NULL) <> (o.deleted_at IS NULL)
            GROUP BY n.board_id) AS a
        WHERE s.board_id = a.board_id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION board_bytes_follow_nodes() IS 'Keeps the bytes of board_stats true when nodes come, go, or change.';
CREATE TRIGGER nodes_bytes_insert AFTER INSERT ON nodes
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION board_bytes_follow_nodes();
CREATE TRIGGER nodes_bytes_update AFTER UPDATE ON nodes
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION board_bytes_follow_nodes();
CREATE TRIGGER nodes_bytes_delete AFTER DELETE ON nodes
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION board_bytes_follow_nodes();

-- The rows of the kinds of nodes: one function for each, because what counts of them differs.
DO $do$
DECLARE
    kind record;
BEGIN
    FOR kind IN SELECT * FROM (VALUES
        ('resource_nodes', 'coalesce(octet_length(%1$s.title), 0) + coalesce(octet_length(%1$s.content), 0) + coalesce(octet_length(%1$s.url), 0)'
            ' + coalesce(octet_length(%1$s.extracted_text), 0) + coalesce(octet_length(%1$s.summary), 0) + octet_length(%1$s.metadata::text)'),
        ('chat_nodes', 'coalesce(octet_length(%1$s.system_prompt), 0)'),
        ('folder_nodes', 'octet_length(%1$s.name) + coalesce(octet_length(%1$s.description), 0)')) AS k (name, bytes)
    LOOP
        EXECUTE format($body$
            CREATE FUNCTION %1$I() RETURNS trigger
                LANGUAGE plpgsql
                SET search_path = pg_catalog, public
            AS $$
            BEGIN
                IF TG_OP = 'INSERT' THEN
                    UPDATE board_stats s SET stored_bytes = stored_bytes + a.bytes, living_bytes = living_bytes + a.living
                    FROM (SELECT r.board_id, sum(%2$s) AS bytes, coalesce(sum(%2$s) FILTER (WHERE n.deleted_at IS NULL), 0) AS living
                        FROM new_rows r JOIN nodes n ON n.id = r.node_id GROUP BY r.board_id) AS a
                    WHERE s.board_id = a.board_id;
                ELSE
                    UPDATE board_stats s SET stored_bytes = stored_bytes + a.bytes, living_bytes = living_bytes + a.living
                    FROM (SELECT r.board_id, sum(%2$s - (%3$s)) AS bytes,
                            coalesce(sum(%2$s - (%3$s)) FILTER (WHERE n.deleted_at IS NULL), 0) AS living
                        FROM new_rows r JOIN old_rows o USING (node_id) JOIN nodes n ON n.id = r.node_id GROUP BY r.board_id) AS a
                    WHERE s.board_id = a.board_id AND (a.bytes <> 0 OR a.living <> 0);
                END IF;
                RETURN NULL;
            END
            $$
        $body$, 'board_bytes_follow_' || kind.name, format(kind.bytes, 'r'), format(kind.bytes, 'o'));
        EXECUTE format('COMMENT ON FUNCTION %I() IS %L', 'board_bytes_follow_' || kind.name,
            'Keeps the bytes of board_stats true when rows of ' || kind.name || ' come or change.');
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %I()',
            kind.name || '_bytes_insert', kind.name, 'board_bytes_follow_' || kind.name);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION %I()',
            kind.name || '_bytes_update', kind.name, 'board_bytes_follow_' || kind.name);
    END LOOP;
END
$do$;

CREATE FUNCTION board_bytes_follow_connections() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE board_stats s SET link_bytes = link_bytes + a.bytes
        FROM (SELECT l.board_id, sum(coalesce(octet_length(l.label), 0) + octet_length(l.style::text) + octet_length(l.metadata::text)) AS bytes
            FROM new_rows l GROUP BY l.board_id) AS a WHERE s.board_id = a.board_id;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE board_stats s SET link_bytes = link_bytes - a.bytes
        FROM (SELECT l.board_id, sum(coalesce(octet_length(l.label), 0) + octet_length(l.style::text) + octet_length(l.metadata::text)) AS bytes
            FROM old_rows l GROUP BY l.board_id) AS a WHERE s.board_id = a.board_id;
    ELSE
        UPDATE board_stats s SET link_bytes = link_bytes + a.bytes
        FROM (SELECT l.board_id, sum(coalesce(octet_length(l.label), 0) + octet_length(l.style::text) + octet_length(l.metadata::text)
                - coalesce(octet_length(o.label), 0) - octet_length(o.style::text) - octet_length(o.metadata::text)) AS bytes
            FROM new_rows l JOIN old_rows o USING (id) GROUP BY l.board_id) AS a
        WHERE s.board_id = a.board_id AND a.bytes <> 0;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION board_bytes_follow_connections() IS 'Keeps the bytes of board_stats true when links come, go, or change.';
CREATE TRIGGER connections_bytes_insert AFTER INSERT ON connections
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION board_bytes_follow_connections();
CREATE TRIGGER connections_bytes_update AFTER UPDATE ON connections
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION board_bytes_follow_connections();
CREATE TRIGGER connections_bytes_delete AFTER DELETE ON connections
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION board_bytes_follow_connections();

-- Who asks under the lock counts alone until the end of the transaction; each statement after the lock sees what was committed before.
CREATE FUNCTION account_usage(
    owner uuid, is_locking boolean,
    OUT boards bigint, OUT nodes bigint, OUT bytes bigint, OUT stored_boards bigint, OUT stored_nodes bigint, OUT stored_bytes bigint,
    OUT copies integer
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    IF is_locking THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('account_usage ' || owner, 0));
    END IF;
    SELECT count(*) FILTER (WHERE b.deleted_at IS NULL),
        coalesce(sum(s.node_count) FILTER (WHERE b.deleted_at IS NULL), 0),
        coalesce(sum(s.living_bytes + s.link_bytes) FILTER (WHERE b.deleted_at IS NULL), 0),
        count(*), coalesce(sum(s.stored_nodes), 0), coalesce(sum(s.stored_bytes + s.link_bytes), 0)
    INTO boards, nodes, bytes, stored_boards, stored_nodes, stored_bytes
    FROM boards b JOIN board_stats s ON s.board_id = b.id WHERE b.user_id = owner;
    copies := coalesce((SELECT c.copies FROM account_copies c WHERE c.user_id = owner AND c.day = CURRENT_DATE), 0);
END
$$;
COMMENT ON FUNCTION account_usage(uuid, boolean) IS 'What an account uses: living things, what is stored with deleted things, copies of today.';

-- Boards that others hold at the moment are left for the next call.
CREATE FUNCTION board_bytes_count(most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
DECLARE
    boards uuid[];
BEGIN
    boards := ARRAY(SELECT board_id FROM board_stats WHERE NOT bytes_counted ORDER BY board_id LIMIT most FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM board_bytes_recount(boards);
    UPDATE board_stats s SET bytes_counted = true, link_bytes = (
        SELECT coalesce(sum(coalesce(octet_length(l.label), 0) + octet_length(l.style::text) + octet_length(l.metadata::text)), 0)
        FROM connections l WHERE l.board_id = s.board_id)
    WHERE s.board_id = ANY (boards);
    RETURN cardinality(boards);
END
$$;
COMMENT ON FUNCTION board_bytes_count(integer) IS 'Counts the bytes of so many boards that were there before they were counted; how many it found.';
