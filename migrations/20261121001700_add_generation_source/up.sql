-- Where the model of a generation is, so that every process can open it, and not only the one whose settings name it.

ALTER TABLE embedding_generations ADD COLUMN source text;
COMMENT ON COLUMN embedding_generations.source IS
    'Folder of the model (local); null for the one that the program fetches and for services, which are in the settings.';
