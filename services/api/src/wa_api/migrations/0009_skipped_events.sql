-- Events that could not be read or stored: their places were passed over. One that is put back is
-- appended to the feed, late.
CREATE TABLE skipped_events (
    session_id uuid NOT NULL,
    sequence   bigint NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, sequence)
);
CREATE INDEX skipped_events_oldest ON skipped_events (skipped_at);
