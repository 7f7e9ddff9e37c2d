-- Accounts and their credentials.

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    email varchar(255) NOT NULL,
    password_hash varchar(255) NOT NULL,
    name varchar(255),
    avatar_url text,
    email_verified boolean NOT NULL DEFAULT false,
    settings jsonb NOT NULL DEFAULT '{}',
    subscription_tier varchar(50) NOT NULL DEFAULT 'free',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_login_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    CONSTRAINT users_email_unique UNIQUE (email),
    CONSTRAINT users_email_lower CHECK (email = lower(email))
);
COMMENT ON TABLE users IS 'Accounts.';
COMMENT ON COLUMN users.id IS 'Version 7 UUID; user_… in the API.';
COMMENT ON COLUMN users.email IS 'Lower-case address, the name to sign in with.';
COMMENT ON COLUMN users.password_hash IS 'argon2id hash in PHC string form.';
COMMENT ON COLUMN users.name IS 'Display name.';
COMMENT ON COLUMN users.avatar_url IS 'Address of the picture.';
COMMENT ON COLUMN users.email_verified IS 'Whether the address was confirmed.';
COMMENT ON COLUMN users.settings IS 'Preferences of the frontend; opaque to the gateway.';
COMMENT ON COLUMN users.subscription_tier IS 'Name of the plan.';
COMMENT ON COLUMN users.created_at IS 'When the account was made.';
COMMENT ON COLUMN users.updated_at IS 'When the account last changed.';
COMMENT ON COLUMN users.last_login_at IS 'Last sign-in.';
COMMENT ON COLUMN users.is_active IS 'A deactivated account can do nothing, at once.';

CREATE INDEX users_active ON users (id) WHERE is_active;

CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    user_id uuid NOT NULL CONSTRAINT refresh_tokens_user_exists REFERENCES users (id) ON DELETE CASCADE,
    family_id uuid NOT NULL,
    token_digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT refresh_tokens_digest_unique UNIQUE (token_digest),
    CONSTRAINT refresh_tokens_digest_size CHECK (octet_length(token_digest) = 32)
);
COMMENT ON TABLE refresh_tokens IS 'Rotating refresh tokens; a used one that comes back closes its family.';
COMMENT ON COLUMN refresh_tokens.id IS 'Version 7 UUID.';
COMMENT ON COLUMN refresh_tokens.user_id IS 'Whose session it is.';
COMMENT ON COLUMN refresh_tokens.family_id IS 'All tokens that were rotated out of one sign-in.';
COMMENT ON COLUMN refresh_tokens.token_digest IS 'SHA-256 of the token; the token itself is never stored.';
COMMENT ON COLUMN refresh_tokens.created_at IS 'When it was handed out.';
COMMENT ON COLUMN refresh_tokens.expires_at IS 'End of its life.';
COMMENT ON COLUMN refresh_tokens.used_at IS 'When it was exchanged for the next one.';
COMMENT ON COLUMN refresh_tokens.revoked_at IS 'When its family was closed.';

CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    user_id uuid NOT NULL CONSTRAINT api_keys_user_exists REFERENCES users (id) ON DELETE CASCADE,
    name varchar(255) NOT NULL,
    key_digest bytea NOT NULL,
    key_prefix varchar(16) NOT NULL,
    scopes text[] NOT NULL DEFAULT '{read}',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_digest_unique UNIQUE (key_digest),
    CONSTRAINT api_keys_scopes_known CHECK (scopes <@ ARRAY['read', 'write', 'admin'] AND cardinality(scopes) > 0)
);
COMMENT ON TABLE api_keys IS 'Keys of partners.';
COMMENT ON COLUMN api_keys.id IS 'Version 7 UUID.';
COMMENT ON COLUMN api_keys.user_id IS 'In whose name the key acts.';
COMMENT ON COLUMN api_keys.name IS 'What the owner calls it.';
COMMENT ON COLUMN api_keys.key_digest IS 'SHA-256 of the key; the key is shown once.';
COMMENT ON COLUMN api_keys.key_prefix IS 'First characters, to recognise a key by.';
COMMENT ON COLUMN api_keys.scopes IS 'Any of read, write, admin.';
COMMENT ON COLUMN api_keys.created_at IS 'When it was made.';
COMMENT ON COLUMN api_keys.expires_at IS 'End of its life; null for none.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Last use, to the minute.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When it was revoked.';

CREATE INDEX api_keys_user ON api_keys (user_id);
