-- Background work.

CREATE TYPE job_type AS ENUM (
    'extract_text', 'generate_summary', 'create_embeddings', 'transcribe_audio', 'analyze_image', 'process_video',
    'scrape_url', 'virus_scan'
);
CREATE TYPE job_status AS ENUM ('pending', 'running', 'completed', 'failed', 'cancelled');

CREATE TABLE processing_jobs (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid CONSTRAINT processing_jobs_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    job_type job_type NOT NULL,
    status job_status NOT NULL DEFAULT 'pending',
    priority integer NOT NULL DEFAULT 5,
    resource_id uuid,
    payload jsonb NOT NULL DEFAULT '{}',
    result jsonb,
    error_message text,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 3,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    scheduled_for timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT processing_jobs_priority_range CHECK (priority BETWEEN 1 AND 10),
    CONSTRAINT processing_jobs_attempts_positive CHECK (attempts >= 0 AND max_attempts > 0),
    CONSTRAINT processing_jobs_node_exists FOREIGN KEY (board_id, resource_id) REFERENCES nodes (board_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE processing_jobs IS 'Background jobs; claimed with FOR UPDATE SKIP LOCKED.';
COMMENT ON COLUMN processing_jobs.id IS 'Version 7 UUID; job_… in the API.';
COMMENT ON COLUMN processing_jobs.board_id IS 'The board it works for; null for work of the system.';
COMMENT ON COLUMN processing_jobs.job_type IS 'What is done.';
COMMENT ON COLUMN processing_jobs.status IS 'How far it is.';
COMMENT ON COLUMN processing_jobs.priority IS '1 (last) to 10 (first).';
COMMENT ON COLUMN processing_jobs.resource_id IS 'The node or file it works on.';
COMMENT ON COLUMN processing_jobs.payload IS 'Its input.';
COMMENT ON COLUMN processing_jobs.result IS 'Its output.';
COMMENT ON COLUMN processing_jobs.error_message IS 'Why it failed.';
COMMENT ON COLUMN processing_jobs.attempts IS 'How often it was tried.';
COMMENT ON COLUMN processing_jobs.max_attempts IS 'How often it may be tried.';
COMMENT ON COLUMN processing_jobs.started_at IS 'When the last try began.';
COMMENT ON COLUMN processing_jobs.completed_at IS 'When it ended.';
COMMENT ON COLUMN processing_jobs.created_at IS 'When it was asked for.';
COMMENT ON COLUMN processing_jobs.scheduled_for IS 'Not before.';

CREATE INDEX processing_jobs_due ON processing_jobs (priority DESC, scheduled_for, id) WHERE status = 'pending';
CREATE INDEX processing_jobs_board ON processing_jobs (board_id, id);
CREATE INDEX processing_jobs_node ON processing_jobs (board_id, resource_id);
CREATE INDEX processing_jobs_running ON processing_jobs (started_at) WHERE status = 'running';
