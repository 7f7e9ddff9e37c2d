-- Conversations with the chats of a board.

CREATE TYPE message_role AS ENUM ('system', 'user', 'assistant', 'function');

CREATE TABLE chat_sessions (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    board_id uuid NOT NULL,
    chat_node_id uuid NOT NULL,
    user_id uuid NOT NULL CONSTRAINT chat_sessions_user_exists REFERENCES users (id) ON DELETE CASCADE,
    title varchar(255),
    context jsonb NOT NULL DEFAULT '{}',
    token_count integer NOT NULL DEFAULT 0,
    message_count integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ended_at timestamptz,
    last_message_at timestamptz,
    CONSTRAINT chat_sessions_chat_exists FOREIGN KEY (board_id, chat_node_id) REFERENCES chat_nodes (board_id, node_id) ON DELETE CASCADE,
    CONSTRAINT chat_sessions_board_unique UNIQUE (board_id, id)
);
COMMENT ON TABLE chat_sessions IS 'Conversations.';
COMMENT ON COLUMN chat_sessions.id IS 'Version 7 UUID; chat_… in the API.';
COMMENT ON COLUMN chat_sessions.board_id IS 'The board of the chat.';
COMMENT ON COLUMN chat_sessions.chat_node_id IS 'The chat on the board.';
COMMENT ON COLUMN chat_sessions.user_id IS 'Who talks.';
COMMENT ON COLUMN chat_sessions.title IS 'Title.';
COMMENT ON COLUMN chat_sessions.context IS 'The connected resources as they were at the start.';
COMMENT ON COLUMN chat_sessions.token_count IS 'Tokens so far.';
COMMENT ON COLUMN chat_sessions.message_count IS 'Messages so far.';
COMMENT ON COLUMN chat_sessions.started_at IS 'When it began.';
COMMENT ON COLUMN chat_sessions.ended_at IS 'When it ended.';
COMMENT ON COLUMN chat_sessions.last_message_at IS 'Last message.';

CREATE INDEX chat_sessions_chat ON chat_sessions (board_id, chat_node_id, id);
CREATE INDEX chat_sessions_user ON chat_sessions (user_id);
CREATE INDEX chat_sessions_open ON chat_sessions (user_id, id) WHERE ended_at IS NULL;

CREATE TABLE chat_messages (
    id uuid NOT NULL DEFAULT uuid_v7(),
    board_id uuid NOT NULL,
    session_id uuid NOT NULL,
    role message_role NOT NULL,
    content text NOT NULL,
    function_name varchar(255),
    function_args jsonb,
    token_count integer,
    processing_time_ms integer,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (session_id, id),
    CONSTRAINT chat_messages_session_exists FOREIGN KEY (board_id, session_id) REFERENCES chat_sessions (board_id, id) ON DELETE CASCADE
) PARTITION BY HASH (session_id);
COMMENT ON TABLE chat_messages IS 'Messages, spread by conversation.';
COMMENT ON COLUMN chat_messages.id IS 'Version 7 UUID; msg_… in the API.';
COMMENT ON COLUMN chat_messages.board_id IS 'The board of the chat.';
COMMENT ON COLUMN chat_messages.session_id IS 'The conversation.';
COMMENT ON COLUMN chat_messages.role IS 'Who speaks.';
COMMENT ON COLUMN chat_messages.content IS 'What is said.';
COMMENT ON COLUMN chat_messages.function_name IS 'Which tool was called.';
COMMENT ON COLUMN chat_messages.function_args IS 'With what.';
COMMENT ON COLUMN chat_messages.token_count IS 'Tokens of this message.';
COMMENT ON COLUMN chat_messages.processing_time_ms IS 'Milliseconds the model took.';
COMMENT ON COLUMN chat_messages.metadata IS 'Free data.';
COMMENT ON COLUMN chat_messages.created_at IS 'When.';

CREATE TABLE chat_messages_p0 PARTITION OF chat_messages FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE chat_messages_p1 PARTITION OF chat_messages FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE chat_messages_p2 PARTITION OF chat_messages FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE chat_messages_p3 PARTITION OF chat_messages FOR VALUES WITH (MODULUS 4, REMAINDER 3);

CREATE INDEX chat_messages_session ON chat_messages (board_id, session_id, created_at);
