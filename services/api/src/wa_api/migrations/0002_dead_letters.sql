-- What could not be handled, taken from the queue wa.dead-letters, until it is put back.
CREATE TABLE dead_letters (
    id          uuid PRIMARY KEY,
    queue       text        NOT NULL,   -- where it died, and where a retry puts it back
    reason      text        NOT NULL,   -- rejected, delivery_limit, expired, maxlen
    type        text,
    body        bytea       NOT NULL,
    died_at     timestamptz NOT NULL
);
CREATE INDEX dead_letters_newest ON dead_letters (died_at DESC, id DESC);
