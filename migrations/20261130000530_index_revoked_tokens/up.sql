-- Twice a second it is asked which of the sessions in use have ended. Hardly any token is revoked.
-- Alone in its file: see metadata.toml.

CREATE INDEX CONCURRENTLY refresh_tokens_revoked ON refresh_tokens (family_id) WHERE revoked_at IS NOT NULL;
