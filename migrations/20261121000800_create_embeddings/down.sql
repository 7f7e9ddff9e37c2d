DROP TABLE embeddings;
DROP TABLE chunks;
DROP TABLE embedding_generations;
