-- Media of incoming messages that is to be kept, is kept, or could not be. The files lie in the media
-- store. Rows live until their file is deleted.
CREATE TABLE incoming_media (
    message_id  uuid PRIMARY KEY,
    session_id  uuid        NOT NULL,
    partition   smallint    NOT NULL,
    media       text        NOT NULL,          -- place and keys at WhatsApp, as JSON
    size        bigint      NOT NULL,          -- as the sender states it, until the file is kept
    status      text        NOT NULL DEFAULT 'wanted',  -- wanted, kept, failed
    tries       integer     NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX incoming_media_wanted ON incoming_media (partition, next_try_at)
    WHERE status = 'wanted';
CREATE INDEX incoming_media_by_expiry ON incoming_media (partition, expires_at);
CREATE INDEX incoming_media_of_session ON incoming_media (session_id) INCLUDE (size, status);
