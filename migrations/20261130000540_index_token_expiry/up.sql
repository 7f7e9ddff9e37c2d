-- Tokens that have had their time are removed some thousand at a time.
-- Alone in its file: see metadata.toml.

CREATE INDEX CONCURRENTLY refresh_tokens_expiry ON refresh_tokens (expires_at);
