-- A refresh token that comes again within seconds gets the same successor, which is derived from the token and a salt.

ALTER TABLE refresh_tokens ADD COLUMN successor_salt bytea
    CONSTRAINT refresh_tokens_salt_size CHECK (octet_length(successor_salt) = 32);
COMMENT ON COLUMN refresh_tokens.successor_salt IS 'Random; its successor is derived from the token and this. Kept while the token may come again.';
