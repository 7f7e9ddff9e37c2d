-- The extension and the functions that the tables below use. Functions carry their search_path, or a restored dump would not find what they name.

CREATE EXTENSION IF NOT EXISTS vector;

-- PostgreSQL 18 has uuidv7(); this one serves 15 to 17 alike.
CREATE FUNCTION uuid_v7() RETURNS uuid
    LANGUAGE sql VOLATILE PARALLEL SAFE
    SET search_path = pg_catalog
AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
COMMENT ON FUNCTION uuid_v7() IS 'A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then random bits.';

-- What names are sorted by. One function for every sort, so that a cursor made by one statement fits the next.
CREATE FUNCTION name_key(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $$ SELECT left(lower(normalize(coalesce(name, ''), NFKC)), 200) $$;
COMMENT ON FUNCTION name_key(text) IS 'Case- and form-folded name, at most 200 characters: the sort key of names.';

-- Accents are folded without an extension: decompose, drop the combining marks, lower. The last two steps are what lower()
-- leaves apart: the sigma at the end of a word, and the sharp s that is written SS in capitals.
CREATE FUNCTION fold_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $$
    SELECT replace(
        translate(lower(regexp_replace(normalize(coalesce(value, ''), NFKD), '[\u0300-\u036f]', '', 'g')), 'ς', 'σ'),
        'ß', 'ss')
$$;
COMMENT ON FUNCTION fold_text(text) IS 'Text without accents and case, for matching.';

-- For triggers on what may never change; the trigger is named like a constraint, and a refusal names it as one.
CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION 'a row of % cannot be changed in this way: %', TG_TABLE_NAME, TG_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION refuse_change() IS 'Refuses the change, in the name of the trigger that called it.';
