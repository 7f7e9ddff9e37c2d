-- An account with one board, and what its rows are put beside; see synthetic.py.

SET client_min_messages = warning;
SET session_replication_role = replica;
TRUNCATE users, embedding_generations CASCADE;
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;

INSERT INTO users (email, password_hash, name, email_verified) VALUES ('bench@ragboard.example', 'none', 'Bench', true);
INSERT INTO boards (id, user_id, name) SELECT :'board', id, 'A large board' FROM users;

-- Which resources have a tag, for what is compared with the gateway.
CREATE TABLE bench.scopes (tag text NOT NULL, node_id uuid NOT NULL);
CREATE UNLOGGED TABLE bench.chunks (id uuid, board_id uuid, node_id uuid, chunk_index integer, chunk_text text);

INSERT INTO embedding_generations (id, provider, model, dimensions, state, activated_at)
VALUES (:'generation', 'local', 'synthetic', 384, 'active', now());
DO $$
DECLARE one text;
BEGIN
    FOR one IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'embeddings'::regclass LOOP
        EXECUTE 'DROP TABLE ' || one;
    END LOOP;
END
$$;
SELECT add_embedding_partition(:'generation');
DROP INDEX chunks_words;
