DROP FUNCTION drop_event_partition(integer);
