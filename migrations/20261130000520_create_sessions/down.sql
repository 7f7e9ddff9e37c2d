DROP TRIGGER refresh_tokens_end_sessions ON refresh_tokens;
DROP TRIGGER refresh_tokens_begin_sessions ON refresh_tokens;
DROP FUNCTION keep_sessions();
DROP TABLE sessions;
