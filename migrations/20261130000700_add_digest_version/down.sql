ALTER TABLE idempotency_keys DROP COLUMN digest_version;
