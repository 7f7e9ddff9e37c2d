-- From where accounts were signed in to: guesses from elsewhere do not lock these places out.

CREATE TABLE sign_in_places (
    user_id uuid NOT NULL CONSTRAINT sign_in_places_user_exists REFERENCES users (id) ON DELETE CASCADE,
    place_digest bytea NOT NULL CONSTRAINT sign_in_places_digest_size CHECK (octet_length(place_digest) = 32),
    is_device boolean NOT NULL,
    last_used_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (user_id, place_digest)
);
COMMENT ON TABLE sign_in_places IS 'From where accounts were signed in to, the last twenty addresses and devices of each.';
COMMENT ON COLUMN sign_in_places.user_id IS 'The account.';
COMMENT ON COLUMN sign_in_places.place_digest IS 'SHA-256 of the address with the e-mail address of the account, or of the token of the device.';
COMMENT ON COLUMN sign_in_places.is_device IS 'Whether it is a device, else it is an address.';
COMMENT ON COLUMN sign_in_places.last_used_at IS 'When the account was last signed in to from there.';

CREATE INDEX sign_in_places_age ON sign_in_places (last_used_at);
