DROP FUNCTION lies_in(uuid, uuid, uuid[]);
DROP TABLE folder_unlocks;
DROP INDEX folder_nodes_locked;
ALTER TABLE folder_nodes DROP COLUMN locked_by;
