-- Changes that are made past the gateway (psql, a restore, another service) step the version of their boards and leave an
-- entry in the log, so that no cache lies and no follower misses them. The gateway does both itself and says so with
-- `SET LOCAL ragboard.gateway = 'on'`.

CREATE FUNCTION log_outside_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    -- In the order of their ids, so that two such statements do not wait for each other.
    WITH locked AS (
        SELECT b.id FROM boards b WHERE b.id IN (SELECT c.board_id FROM changed c)
        ORDER BY b.id FOR NO KEY UPDATE
    ), stepped AS (
        UPDATE boards b SET version = b.version + 1, updated_at = CURRENT_TIMESTAMP FROM locked l WHERE b.id = l.id
        RETURNING b.id, b.version
    )
    INSERT INTO board_events (board_id, version, changes) SELECT id, version, '[{"type": "unknown"}]' FROM stepped;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION log_outside_changes() IS 'Steps the version of the boards that a statement changed, and logs that it did.';

CREATE FUNCTION log_outside_truncation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    WITH stepped AS (
        UPDATE boards b SET version = b.version + 1, updated_at = CURRENT_TIMESTAMP RETURNING b.id, b.version
    )
    INSERT INTO board_events (board_id, version, changes) SELECT id, version, '[{"type": "unknown"}]' FROM stepped;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION log_outside_truncation() IS 'Steps the version of all boards, because a truncation does not say whose rows it took.';

DO $$
DECLARE
    board_owned text;
BEGIN
    FOREACH board_owned IN ARRAY
        ARRAY['nodes', 'resource_nodes', 'chat_nodes', 'folder_nodes', 'node_hierarchy', 'connections']
    LOOP
        -- Only one kind of statement may name the rows it changed, so there are three.
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
            WHEN (current_setting(''ragboard.gateway'', true) IS DISTINCT FROM ''on'')
            EXECUTE FUNCTION log_outside_changes()', board_owned || '_outside_insert', board_owned);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
            WHEN (current_setting(''ragboard.gateway'', true) IS DISTINCT FROM ''on'')
            EXECUTE FUNCTION log_outside_changes()', board_owned || '_outside_update', board_owned);
        EXECUTE format('CREATE TRIGGER %I AFTER DELETE ON %I REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
            WHEN (current_setting(''ragboard.gateway'', true) IS DISTINCT FROM ''on'')
            EXECUTE FUNCTION log_outside_changes()', board_owned || '_outside_delete', board_owned);
        EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %I FOR EACH STATEMENT
            WHEN (current_setting(''ragboard.gateway'', true) IS DISTINCT FROM ''on'')
            EXECUTE FUNCTION log_outside_truncation()', board_owned || '_outside_truncate', board_owned);
    END LOOP;
END
$$;

CREATE FUNCTION step_outside_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION step_outside_version() IS 'Steps the version of a board whose own row was changed.';

CREATE FUNCTION log_outside_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    INSERT INTO board_events (board_id, version, changes) VALUES (NEW.id, NEW.version, '[{"type": "unknown"}]');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION log_outside_version() IS 'Logs that the own row of a board was changed.';

-- Not for what the triggers above do themselves.
CREATE TRIGGER boards_outside_step BEFORE UPDATE ON boards FOR EACH ROW
    WHEN (pg_trigger_depth() = 0 AND current_setting('ragboard.gateway', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION step_outside_version();
CREATE TRIGGER boards_outside_log AFTER UPDATE ON boards FOR EACH ROW
    WHEN (pg_trigger_depth() = 0 AND current_setting('ragboard.gateway', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION log_outside_version();
