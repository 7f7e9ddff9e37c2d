-- Sessions of accounts, for their holders to look at and to end. What refuses a token of a session that has ended is the
-- revocation of its refresh tokens, as before; triggers keep this table in step with them.

SET LOCAL lock_timeout = '5s';

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT sessions_user_exists REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    device varchar(100),
    address varchar(50)
);
COMMENT ON TABLE sessions IS 'Sign-ins of accounts; kept in step with refresh_tokens by triggers.';
COMMENT ON COLUMN sessions.id IS 'The family of its refresh tokens; session_… in the API.';
COMMENT ON COLUMN sessions.user_id IS 'Whose session it is.';
COMMENT ON COLUMN sessions.created_at IS 'When somebody signed in.';
COMMENT ON COLUMN sessions.last_used_at IS 'When a refresh token was last handed out.';
COMMENT ON COLUMN sessions.expires_at IS 'When its last refresh token ends.';
COMMENT ON COLUMN sessions.ended_at IS 'When it was ended, by whatever.';
COMMENT ON COLUMN sessions.device IS 'Browser and system in words, as the client told them last.';
COMMENT ON COLUMN sessions.address IS 'Network that it was last used from, in part: of IPv4 three numbers, of IPv6 48 bits.';

CREATE INDEX sessions_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ended_at)
SELECT t.family_id, (array_agg(t.user_id))[1], min(t.created_at), max(t.created_at), max(t.expires_at), min(t.revoked_at)
FROM refresh_tokens t GROUP BY t.family_id;

CREATE FUNCTION keep_sessions() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO sessions AS s (id, user_id, created_at, last_used_at, expires_at)
        SELECT c.family_id, c.user_id, min(c.created_at), max(c.created_at), max(c.expires_at)
        FROM changed c GROUP BY c.family_id, c.user_id
        ON CONFLICT (id) DO UPDATE SET last_used_at = greatest(s.last_used_at, excluded.last_used_at),
            expires_at = greatest(s.expires_at, excluded.expires_at);
    END IF;
    -- In the order of their ids, so that two such statements do not wait for each other.
    WITH ended AS (
        SELECT s.id FROM sessions s WHERE s.ended_at IS NULL
        AND s.id IN (SELECT c.family_id FROM changed c WHERE c.revoked_at IS NOT NULL)
        ORDER BY s.id FOR NO KEY UPDATE
    )
    UPDATE sessions s SET ended_at = CURRENT_TIMESTAMP FROM ended e WHERE s.id = e.id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_sessions() IS 'Keeps sessions in step with the refresh tokens that a statement changed.';
CREATE TRIGGER refresh_tokens_begin_sessions AFTER INSERT ON refresh_tokens
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_sessions();
CREATE TRIGGER refresh_tokens_end_sessions AFTER UPDATE ON refresh_tokens
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_sessions();
