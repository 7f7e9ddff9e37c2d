DROP FUNCTION copy_chunks(uuid[], uuid[]);
