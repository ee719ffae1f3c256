-- Credentials are the api's own; everything else here is made from events and can be made again.

CREATE TABLE credentials (
    session_id   uuid PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE,      -- SHA-256 of the token
    token_cipher bytea NOT NULL,             -- AES-GCM, to show the token to the operator
    created_at   timestamptz NOT NULL DEFAULT now(),
    rotated_at   timestamptz,
    revoked_at   timestamptz
);

-- How far each session's events are projected. Outlives the session, so that a late duplicate
-- cannot bring a deleted one back. seen > applied: a gap, the owner is asked to replay.
CREATE TABLE checkpoints (
    session_id       uuid PRIMARY KEY,
    applied_sequence bigint NOT NULL,
    seen_sequence    bigint NOT NULL
);
CREATE INDEX checkpoints_gaps ON checkpoints (session_id) WHERE seen_sequence > applied_sequence;

CREATE TABLE sessions (
    session_id    uuid PRIMARY KEY,
    partition     smallint NOT NULL,
    name          text,
    phone_number  text,
    status        text NOT NULL,
    status_reason text,
    desired_state text NOT NULL,
    connected_at  timestamptz,
    created_at    timestamptz NOT NULL,
    last_error    text,
    qr            text,
    qr_expires_at timestamptz,
    queued        integer NOT NULL DEFAULT 0
);
CREATE INDEX sessions_newest ON sessions (created_at DESC, session_id DESC);

CREATE TABLE messages (
    id            uuid PRIMARY KEY,
    message_id    text,                      -- WhatsApp's own id
    session_id    uuid NOT NULL,
    direction     text NOT NULL,
    sender        text,
    recipient     text NOT NULL,
    type          text NOT NULL,
    status        text NOT NULL,
    reference     text,
    created_at    timestamptz NOT NULL,
    sent_at       timestamptz,
    delivered_at  timestamptz,
    read_at       timestamptz,
    error_code    text,
    error_message text,
    resend_of     uuid
);
CREATE INDEX messages_newest ON messages (created_at DESC, id DESC);
CREATE INDEX messages_of_session ON messages (session_id, created_at DESC, id DESC);
CREATE INDEX messages_by_foreign_id ON messages (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX messages_by_reference ON messages (reference) WHERE reference IS NOT NULL;

-- Every public event in the order of its projection. QR texts are left out.
CREATE TABLE feed (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id uuid NOT NULL,
    type       text NOT NULL,
    event      jsonb NOT NULL
);
CREATE INDEX feed_of_session ON feed (session_id, position);
