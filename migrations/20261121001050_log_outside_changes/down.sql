DROP TRIGGER boards_outside_log ON boards;
DROP TRIGGER boards_outside_step ON boards;
DROP FUNCTION log_outside_version();
DROP FUNCTION step_outside_version();
-- With their triggers.
DROP FUNCTION log_outside_truncation() CASCADE;
DROP FUNCTION log_outside_changes() CASCADE;
