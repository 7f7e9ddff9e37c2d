-- Invitations by e-mail address, whether there is such an account or not: who invites does not learn which.
-- Unanswered ones of before stay in board_collaborators, where they can be accepted as well.

CREATE TABLE board_invitations (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL CONSTRAINT board_invitations_board_exists REFERENCES boards (id) ON DELETE CASCADE,
    email varchar(255) NOT NULL,
    role share_permission NOT NULL,
    invited_by uuid CONSTRAINT board_invitations_inviter_exists REFERENCES users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT board_invitations_once UNIQUE (board_id, email),
    CONSTRAINT board_invitations_email_lower CHECK (email = lower(email))
);
COMMENT ON TABLE board_invitations IS 'Invitations to boards that were not answered yet.';
COMMENT ON COLUMN board_invitations.id IS 'Version 7 UUID.';
COMMENT ON COLUMN board_invitations.board_id IS 'The board.';
COMMENT ON COLUMN board_invitations.email IS 'Lower-case address of who is invited; there need not be an account.';
COMMENT ON COLUMN board_invitations.role IS 'What they may do, once they have accepted.';
COMMENT ON COLUMN board_invitations.invited_by IS 'Who has invited.';
COMMENT ON COLUMN board_invitations.created_at IS 'When they were invited.';

CREATE INDEX board_invitations_email ON board_invitations (email);
CREATE INDEX board_invitations_inviter ON board_invitations (invited_by);
