DROP INDEX processing_jobs_unsettled;
DROP TRIGGER nodes_restored_text ON nodes;
DROP FUNCTION enqueue_restored_text();
