DROP FUNCTION create_month_partitions(integer);
DROP TABLE idempotency_keys;
DROP TABLE usage_metrics;
DROP TABLE activity_logs;
DROP TABLE board_events;
DROP TYPE activity_type;
