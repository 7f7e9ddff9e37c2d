-- The change log is kept for a time that the operator says, and let go month by month.

CREATE FUNCTION drop_event_partition(keep_days integer) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
    SET timezone = 'UTC'
    -- Dropping a partition wants the log, the boards and the accounts for a moment to itself, and whoever comes meanwhile waits
    -- behind it. If it does not get them soon, it gives up.
    SET lock_timeout = '250ms'
AS $$
DECLARE
    partition text;
BEGIN
    -- Two programs that do this at the same time take turns.
    PERFORM pg_advisory_xact_lock(hashtext('drop_event_partition'));
    SELECT c.relname INTO partition
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.board_events'::regclass AND c.relname ~ '^board_events_\d{4}_\d{2}$'
            -- The whole month has to be old enough, not only its first day.
            AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= now() - make_interval(days => keep_days)
        ORDER BY c.relname LIMIT 1;
    IF partition IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', partition);
    END IF;
    RETURN partition;
END
$$;
COMMENT ON FUNCTION drop_event_partition(integer) IS 'Drops the oldest month of the change log if all of it is older than so many days; returns its name, or null when there is none. Gives up when it would have to wait for others.';
