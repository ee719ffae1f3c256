-- The event store. One row per event; (stream, stream_version) and (session_id, session_sequence) make each append unique.
CREATE TABLE events (
    position         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition        smallint    NOT NULL,
    session_id       uuid        NOT NULL,
    session_sequence bigint,                 -- null: internal, never published
    stream           text        NOT NULL,
    stream_version   integer     NOT NULL,
    id               uuid        NOT NULL,
    type             text        NOT NULL,
    version          smallint    NOT NULL,
    occurred_at      timestamptz NOT NULL,
    correlation_id   uuid        NOT NULL,
    causation_id     uuid        NOT NULL,
    data             jsonb       NOT NULL,   -- what is published
    private          jsonb,                  -- what is not: text, media address, file name
    reply_to         text,                   -- who waits for this event
    UNIQUE (stream, stream_version),
    UNIQUE (session_id, session_sequence)
);
CREATE INDEX events_of_partition ON events (partition, position);
CREATE INDEX events_by_whatsapp_id ON events (session_id, (data ->> 'messageId'))
    WHERE type = 'message.sent';
CREATE INDEX events_of_unknown_outcome ON events (session_id) WHERE type = 'message.unknown';

-- A partition's lease, how far its events were published, and from where on its messages may be open.
CREATE TABLE partitions (
    partition        smallint PRIMARY KEY,
    host             text,
    fencing_token    bigint      NOT NULL DEFAULT 0,
    expires_at       timestamptz NOT NULL DEFAULT '-infinity',
    relayed_position bigint      NOT NULL DEFAULT 0,
    open_position    bigint      NOT NULL DEFAULT 0
);
INSERT INTO partitions (partition) SELECT generate_series(0, 63);

-- The living hosts, for the fair share.
CREATE TABLE hosts (
    host       text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
