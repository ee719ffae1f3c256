-- no transaction
-- What a new owner of a partition reads: its sessions, and with a pace the sends of the day.
DROP INDEX CONCURRENTLY IF EXISTS events_of_sessions;
CREATE INDEX CONCURRENTLY events_of_sessions ON events (partition, position)
    WHERE stream LIKE 'session-%';
DROP INDEX CONCURRENTLY IF EXISTS events_of_possible_sends;
CREATE INDEX CONCURRENTLY events_of_possible_sends ON events (partition, occurred_at)
    INCLUDE (session_id) WHERE type IN ('message.sent', 'message.unknown');
