-- Digests of requests are made of what is meant and no longer of how it is written. A digest of before says nothing about a
-- request of now, so the rows that a program of before wrote, and goes on writing until it is replaced, are told apart.

SET LOCAL lock_timeout = '5s';

ALTER TABLE idempotency_keys ADD COLUMN digest_version smallint NOT NULL DEFAULT 1;
COMMENT ON COLUMN idempotency_keys.digest_version IS 'How request_digest was made: 1 of the text of the input, which fits any request under the key that has no secret; 2 of what it means.';
