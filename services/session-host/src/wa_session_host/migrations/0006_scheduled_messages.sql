-- The messages that wait for their time. A trigger keeps the table, as for open_messages.
CREATE TABLE scheduled_messages (
    stream     text PRIMARY KEY,
    partition  smallint    NOT NULL,
    session_id uuid        NOT NULL,
    due_at     timestamptz NOT NULL,
    position   bigint      NOT NULL        -- of message.scheduled
);
CREATE INDEX scheduled_messages_by_time ON scheduled_messages (partition, due_at, position);

CREATE FUNCTION keep_scheduled_messages() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off               -- the plan of an empty table outlives it
AS $$
BEGIN
    DELETE FROM scheduled_messages WHERE stream = ANY (ARRAY(
        SELECT stream FROM appended
        WHERE type IN ('message.queued', 'message.failed', 'message.cancelled')));
    INSERT INTO scheduled_messages (stream, partition, session_id, due_at, position)
    SELECT stream, partition, session_id, (data ->> 'sendAt')::timestamptz, position
    FROM appended WHERE type = 'message.scheduled'
    ON CONFLICT (stream) DO UPDATE SET due_at = excluded.due_at, position = excluded.position;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_scheduled_messages AFTER INSERT ON events REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION keep_scheduled_messages();
