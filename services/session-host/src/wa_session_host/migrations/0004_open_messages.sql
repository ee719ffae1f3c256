-- The messages that have not ended. A trigger keeps the table: every version of the host that
-- appends keeps it complete. A row too many is harmless, its stream tells.
CREATE TABLE open_messages (
    stream    text PRIMARY KEY,
    partition smallint NOT NULL,
    position  bigint   NOT NULL            -- of the newest message.queued
);
CREATE INDEX open_messages_of_partition ON open_messages (partition, position);

CREATE FUNCTION keep_open_messages() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off               -- the plan of an empty table outlives it
AS $$
BEGIN
    INSERT INTO open_messages (stream, partition, position)
    SELECT stream, partition, position FROM appended WHERE type = 'message.queued'
    ON CONFLICT (stream) DO UPDATE SET position = excluded.position;
    DELETE FROM open_messages WHERE stream = ANY (ARRAY(
        SELECT stream FROM appended
        WHERE type IN ('message.sent', 'message.failed', 'message.unknown', 'message.cancelled')));
    RETURN NULL;
END $$;
CREATE TRIGGER keep_open_messages AFTER INSERT ON events REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION keep_open_messages();
