-- Counts that the dashboard shows, kept by the statements that change messages: a page reads a few
-- rows, however many messages there are. Statement triggers also count what a projector of an
-- earlier version writes. The first count holds writers up, seconds for a million messages.

CREATE TABLE message_counts (               -- outgoing messages
    session_id uuid NOT NULL,
    status     text NOT NULL,
    number     bigint NOT NULL,
    PRIMARY KEY (session_id, status)
);
CREATE TABLE message_hours (                -- outgoing messages by the hour of their creation
    session_id uuid NOT NULL,
    starts_at  timestamptz NOT NULL,
    sent       integer NOT NULL,
    failed     integer NOT NULL,            -- failed or unknown
    PRIMARY KEY (session_id, starts_at)
);
CREATE INDEX message_hours_oldest ON message_hours (starts_at);
CREATE TABLE sent_seconds (                 -- acknowledged messages of the last minutes
    second timestamptz PRIMARY KEY,
    number integer NOT NULL
);

-- Deleted sessions whose messages are still being deleted, in batches. Look-ups leave them out.
CREATE TABLE removed_sessions (
    session_id uuid PRIMARY KEY,
    removed_at timestamptz NOT NULL DEFAULT now()
);

-- The tables are found by the writer's search_path: a rebuild writes to a schema of its own.
CREATE OR REPLACE FUNCTION count_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO message_counts AS c (session_id, status, number)
        SELECT session_id, status, -count(*) FROM former
        WHERE direction = 'outgoing' GROUP BY 1, 2
        ON CONFLICT (session_id, status) DO UPDATE SET number = c.number + excluded.number;
        INSERT INTO message_hours AS h (session_id, starts_at, sent, failed)
        SELECT session_id, date_trunc('hour', created_at, 'UTC'), -count(sent_at),
               -count(*) FILTER (WHERE status IN ('failed', 'unknown'))
        FROM former
        WHERE direction = 'outgoing' AND created_at > now() - interval '25 hours' GROUP BY 1, 2
        ON CONFLICT (session_id, starts_at)
        DO UPDATE SET sent = h.sent + excluded.sent, failed = h.failed + excluded.failed;
        INSERT INTO sent_seconds AS s (second, number)
        SELECT date_trunc('second', sent_at), -count(*) FROM former
        WHERE sent_at > now() - interval '1 minute' GROUP BY 1
        ON CONFLICT (second) DO UPDATE SET number = s.number + excluded.number;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO message_counts AS c (session_id, status, number)
        SELECT session_id, status, count(*) FROM present
        WHERE direction = 'outgoing' GROUP BY 1, 2
        ON CONFLICT (session_id, status) DO UPDATE SET number = c.number + excluded.number;
        INSERT INTO message_hours AS h (session_id, starts_at, sent, failed)
        SELECT session_id, date_trunc('hour', created_at, 'UTC'), count(sent_at),
               count(*) FILTER (WHERE status IN ('failed', 'unknown'))
        FROM present
        WHERE direction = 'outgoing' AND created_at > now() - interval '25 hours' GROUP BY 1, 2
        ON CONFLICT (session_id, starts_at)
        DO UPDATE SET sent = h.sent + excluded.sent, failed = h.failed + excluded.failed;
        INSERT INTO sent_seconds AS s (second, number)
        SELECT date_trunc('second', sent_at), count(*) FROM present
        WHERE sent_at > now() - interval '1 minute' GROUP BY 1
        ON CONFLICT (second) DO UPDATE SET number = s.number + excluded.number;
        DELETE FROM sent_seconds WHERE second < now() - interval '2 minutes';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_inserted_messages AFTER INSERT ON messages
    REFERENCING NEW TABLE AS present
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages();
CREATE TRIGGER count_updated_messages AFTER UPDATE ON messages
    REFERENCING OLD TABLE AS former NEW TABLE AS present
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages();
CREATE TRIGGER count_deleted_messages AFTER DELETE ON messages
    REFERENCING OLD TABLE AS former
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages();

INSERT INTO message_counts (session_id, status, number)
SELECT session_id, status, count(*) FROM messages WHERE direction = 'outgoing' GROUP BY 1, 2;
INSERT INTO message_hours (session_id, starts_at, sent, failed)
SELECT session_id, date_trunc('hour', created_at, 'UTC'), count(sent_at),
       count(*) FILTER (WHERE status IN ('failed', 'unknown'))
FROM messages
WHERE direction = 'outgoing' AND created_at > now() - interval '25 hours' GROUP BY 1, 2;
