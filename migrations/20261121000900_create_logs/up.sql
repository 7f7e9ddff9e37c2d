-- What happened: the change log of boards, activity, usage, idempotency.

CREATE TYPE activity_type AS ENUM (
    'board_created', 'board_deleted', 'board_shared', 'node_created', 'node_updated', 'node_deleted',
    'connection_created', 'connection_deleted', 'chat_started', 'file_uploaded', 'export_created'
);

CREATE TABLE board_events (
    board_id uuid NOT NULL CONSTRAINT board_events_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    actor_id uuid CONSTRAINT board_events_actor_exists REFERENCES users (id) ON DELETE SET NULL,
    client_mutation_id varchar(255),
    changes jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (board_id, version, at)
) PARTITION BY RANGE (at);
COMMENT ON TABLE board_events IS 'The change log: one row per committed change of a board, gapless and in commit order per board.';
COMMENT ON COLUMN board_events.board_id IS 'The board.';
COMMENT ON COLUMN board_events.version IS 'The version that this change made.';
COMMENT ON COLUMN board_events.at IS 'When it was committed; months are partitions.';
COMMENT ON COLUMN board_events.actor_id IS 'Who did it; null for the system and for share links.';
COMMENT ON COLUMN board_events.client_mutation_id IS 'What the client called its change.';
COMMENT ON COLUMN board_events.changes IS 'What changed, in the form of the API.';

CREATE INDEX board_events_actor ON board_events (actor_id);

CREATE TABLE activity_logs (
    id uuid NOT NULL DEFAULT uuid_v7(),
    user_id uuid CONSTRAINT activity_logs_user_exists REFERENCES users (id) ON DELETE CASCADE,
    board_id uuid CONSTRAINT activity_logs_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    activity_type activity_type NOT NULL,
    resource_type varchar(50),
    resource_id uuid,
    metadata jsonb NOT NULL DEFAULT '{}',
    ip_address inet,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (created_at, id)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE activity_logs IS 'Who did what.';
COMMENT ON COLUMN activity_logs.id IS 'Version 7 UUID.';
COMMENT ON COLUMN activity_logs.user_id IS 'Who; null for share links.';
COMMENT ON COLUMN activity_logs.board_id IS 'On which board.';
COMMENT ON COLUMN activity_logs.activity_type IS 'What.';
COMMENT ON COLUMN activity_logs.resource_type IS 'On what kind of thing.';
COMMENT ON COLUMN activity_logs.resource_id IS 'On which.';
COMMENT ON COLUMN activity_logs.metadata IS 'More about it.';
COMMENT ON COLUMN activity_logs.ip_address IS 'From where.';
COMMENT ON COLUMN activity_logs.user_agent IS 'With what program.';
COMMENT ON COLUMN activity_logs.created_at IS 'When; months are partitions.';

CREATE INDEX activity_logs_user ON activity_logs (user_id, created_at, id);
CREATE INDEX activity_logs_board ON activity_logs (board_id, created_at, id);
CREATE INDEX activity_logs_resource ON activity_logs (resource_type, resource_id);

CREATE TABLE usage_metrics (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    user_id uuid NOT NULL CONSTRAINT usage_metrics_user_exists REFERENCES users (id) ON DELETE CASCADE,
    metric_type varchar(100) NOT NULL,
    value bigint NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT usage_metrics_period_ordered CHECK (period_end > period_start),
    CONSTRAINT usage_metrics_period_unique UNIQUE (user_id, metric_type, period_start)
);
COMMENT ON TABLE usage_metrics IS 'Use, for quotas and billing.';
COMMENT ON COLUMN usage_metrics.id IS 'Version 7 UUID.';
COMMENT ON COLUMN usage_metrics.user_id IS 'Whose use.';
COMMENT ON COLUMN usage_metrics.metric_type IS 'api_calls, storage_bytes, ai_tokens …';
COMMENT ON COLUMN usage_metrics.value IS 'How much, in the unit the name says.';
COMMENT ON COLUMN usage_metrics.metadata IS 'More about it.';
COMMENT ON COLUMN usage_metrics.period_start IS 'From.';
COMMENT ON COLUMN usage_metrics.period_end IS 'Until, exclusive.';
COMMENT ON COLUMN usage_metrics.created_at IS 'When it was written.';

CREATE INDEX usage_metrics_period ON usage_metrics (period_start, period_end);

CREATE TABLE idempotency_keys (
    principal_digest bytea NOT NULL,
    key varchar(255) NOT NULL,
    request_digest bytea NOT NULL,
    result jsonb,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (principal_digest, key)
);
COMMENT ON TABLE idempotency_keys IS 'Results of mutations that carried a key, replayed for 24 hours.';
COMMENT ON COLUMN idempotency_keys.principal_digest IS 'SHA-256 of who asked.';
COMMENT ON COLUMN idempotency_keys.key IS 'The key of the client.';
COMMENT ON COLUMN idempotency_keys.request_digest IS 'SHA-256 of the input: another input under the same key is an error.';
COMMENT ON COLUMN idempotency_keys.result IS 'What was answered; null while the work is under way.';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When.';

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- The program calls this at every start and once a day, so that a month always has its partition before it begins.
-- Months are those of UTC, whatever the session thinks.
CREATE FUNCTION create_month_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
    SET timezone = 'UTC'
AS $$
DECLARE
    parent text;
    month timestamptz;
    partition text;
    created integer := 0;
BEGIN
    -- Two programs that start together take turns.
    PERFORM pg_advisory_xact_lock(hashtext('create_month_partitions'));
    FOREACH parent IN ARRAY ARRAY['board_events', 'activity_logs'] LOOP
        FOR step IN -1 .. months_ahead LOOP
            month := date_trunc('month', now()) + make_interval(months => step);
            partition := parent || to_char(month, '_YYYY_MM');
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = partition);
            -- Made apart and then attached: a partition made in place would wait for every reader of the log, and
            -- everybody who writes a log would wait behind it.
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                partition, parent);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                parent, partition, month, month + interval '1 month');
            created := created + 1;
        END LOOP;
    END LOOP;
    RETURN created;
END
$$;
COMMENT ON FUNCTION create_month_partitions(integer) IS 'Makes the missing month partitions, from last month to so many months ahead; returns how many.';
