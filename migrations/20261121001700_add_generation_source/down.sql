ALTER TABLE embedding_generations DROP COLUMN source;
