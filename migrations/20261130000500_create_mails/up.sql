-- Mails that are to be sent. A row says what the mail is for and not what it says: its token is made when it is sent.

CREATE TABLE mails (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    purpose text NOT NULL,
    email varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    scheduled_for timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    attempts integer NOT NULL DEFAULT 0,
    done_at timestamptz,
    CONSTRAINT mails_purpose_known CHECK (purpose IN ('verify_email', 'reset_password')),
    CONSTRAINT mails_attempts_positive CHECK (attempts >= 0)
);
COMMENT ON TABLE mails IS 'Mails that were asked for; kept for two days, by which they are counted.';
COMMENT ON COLUMN mails.id IS 'Version 7 UUID.';
COMMENT ON COLUMN mails.purpose IS 'What it is for: verify_email or reset_password.';
COMMENT ON COLUMN mails.email IS 'Lower-case address that it goes to. There need not be an account with it.';
COMMENT ON COLUMN mails.created_at IS 'When it was asked for.';
COMMENT ON COLUMN mails.scheduled_for IS 'Not before; while somebody sends it, when another may try.';
COMMENT ON COLUMN mails.attempts IS 'How often it was tried.';
COMMENT ON COLUMN mails.done_at IS 'When it was sent, given up or found to be unnecessary.';

CREATE INDEX mails_due ON mails (scheduled_for) WHERE done_at IS NULL;
CREATE INDEX mails_email ON mails (email, purpose, created_at);
