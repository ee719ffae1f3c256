-- Webhooks are the api's own: they follow the feed and are not made anew by a rebuild. No foreign
-- keys: the shadow schema of a rebuild has these tables too, empty, and drops them in any order.

CREATE TABLE webhook_endpoints (
    id                    uuid PRIMARY KEY,
    url                   text NOT NULL,
    session_id            uuid,              -- null: all sessions
    events                text[],            -- names and patterns as given; null: all events
    types                 text[],            -- what they mean to the version that runs
    secret_cipher         bytea NOT NULL,    -- AES-GCM
    former_secret_cipher  bytea,             -- signs as well until then
    former_secret_until   timestamptz,
    from_position         bigint NOT NULL,   -- gets the events of the feed after this
    created_at            timestamptz NOT NULL DEFAULT now(),
    failing_since         timestamptz,       -- the first failure after the last success
    last_error            text,
    paused_at             timestamptz,
    paused_reason         text,
    session_deleted_at    timestamptz,
    deleted_at            timestamptz        -- gone for everybody; its rows are removed in batches
);
CREATE INDEX webhook_endpoints_of_session ON webhook_endpoints (session_id);

CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY,
    endpoint_id     uuid NOT NULL,
    position        bigint,                  -- of the event in the feed; null: a test
    session_id      uuid,
    event_id        uuid NOT NULL,           -- the header webhook-id
    type            text NOT NULL,
    lane            uuid NOT NULL,           -- one after the other in here: the session, or a redelivery alone
    status          text NOT NULL,           -- waiting, delivered, given_up
    reason          text,                    -- why it was given up
    attempts        integer NOT NULL DEFAULT 0,
    first_tried_at  timestamptz,             -- of the present run of retries
    tried_at        timestamptz,
    next_try_at     timestamptz,
    response_status integer,
    duration_ms     integer,
    error           text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    UNIQUE (endpoint_id, position)           -- each event once
);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint_id, lane, position)
    WHERE status = 'waiting';
CREATE INDEX webhook_deliveries_given_up ON webhook_deliveries (endpoint_id, created_at, id)
    WHERE status = 'given_up';
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (endpoint_id, created_at, id);
CREATE INDEX webhook_deliveries_of_session ON webhook_deliveries (session_id, created_at);

-- How far the feed has been made into deliveries.
CREATE TABLE webhook_fan_out (
    is_one   boolean PRIMARY KEY DEFAULT true CHECK (is_one), -- one row
    position bigint NOT NULL
);
INSERT INTO webhook_fan_out (position) SELECT coalesce(max(position), 0) FROM feed;
