-- Tokens that are sent by mail, and the mail that a new account gets.

SET LOCAL lock_timeout = '5s';

CREATE TABLE account_tokens (
    user_id uuid NOT NULL CONSTRAINT account_tokens_user_exists REFERENCES users (id) ON DELETE CASCADE,
    purpose text NOT NULL,
    token_digest bytea PRIMARY KEY,
    email varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at timestamptz NOT NULL,
    CONSTRAINT account_tokens_purpose_known CHECK (purpose IN ('verify_email', 'reset_password')),
    CONSTRAINT account_tokens_digest_size CHECK (octet_length(token_digest) = 32)
);
COMMENT ON TABLE account_tokens IS 'Tokens that are sent by mail. One that has arrived takes the place of those made before it; used by deleting it.';
COMMENT ON COLUMN account_tokens.user_id IS 'The account.';
COMMENT ON COLUMN account_tokens.purpose IS 'What it is for: verify_email or reset_password.';
COMMENT ON COLUMN account_tokens.token_digest IS 'SHA-256 of the token; the token itself is never stored.';
COMMENT ON COLUMN account_tokens.email IS 'The address that it was sent to; good while the account has that address.';
COMMENT ON COLUMN account_tokens.created_at IS 'When it was made.';
COMMENT ON COLUMN account_tokens.expires_at IS 'End of its life.';

CREATE INDEX account_tokens_user ON account_tokens (user_id, purpose, created_at);

-- Accounts were trusted with the address they gave until now. Those who come from here on verify it.
UPDATE users SET email_verified = true WHERE NOT email_verified;

-- In the transaction that makes the account, so that nothing can get lost between the two. Accounts that are made past the
-- gateway, by an import for one, get no mail.
CREATE FUNCTION ask_for_verification() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    INSERT INTO mails (purpose, email) VALUES ('verify_email', NEW.email);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ask_for_verification() IS 'Asks for the mail by which a new account verifies its address.';
CREATE TRIGGER users_ask_for_verification AFTER INSERT ON users FOR EACH ROW
    WHEN (NOT NEW.email_verified AND current_setting('ragboard.gateway', true) = 'on')
    EXECUTE FUNCTION ask_for_verification();
