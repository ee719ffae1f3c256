-- no transaction
-- Each filter of a look-up has an index whose newest rows are the answer, for the operator and for
-- one session, so that a page costs the same however many rows are stored.
DROP INDEX CONCURRENTLY IF EXISTS messages_by_state;
CREATE INDEX CONCURRENTLY messages_by_state
    ON messages (status, direction, created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS messages_of_session_by_state;
CREATE INDEX CONCURRENTLY messages_of_session_by_state
    ON messages (session_id, status, direction, created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS messages_by_recipient;
CREATE INDEX CONCURRENTLY messages_by_recipient
    ON messages (recipient, created_at DESC, id DESC);
DROP INDEX CONCURRENTLY IF EXISTS messages_of_session_by_recipient;
CREATE INDEX CONCURRENTLY messages_of_session_by_recipient
    ON messages (session_id, recipient, created_at DESC, id DESC);
DROP INDEX CONCURRENTLY IF EXISTS messages_newest_by_reference;
CREATE INDEX CONCURRENTLY messages_newest_by_reference
    ON messages (reference, created_at DESC, id DESC) WHERE reference IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS messages_of_session_by_reference;
CREATE INDEX CONCURRENTLY messages_of_session_by_reference
    ON messages (session_id, reference, created_at DESC, id DESC) WHERE reference IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS messages_by_reference;
DROP INDEX CONCURRENTLY IF EXISTS feed_by_type;
CREATE INDEX CONCURRENTLY feed_by_type ON feed (type, position);
DROP INDEX CONCURRENTLY IF EXISTS feed_of_session_by_type;
CREATE INDEX CONCURRENTLY feed_of_session_by_type ON feed (session_id, type, position);
DROP INDEX CONCURRENTLY IF EXISTS feed_of_session_states;
CREATE INDEX CONCURRENTLY feed_of_session_states ON feed (session_id, position)
    WHERE type LIKE 'session.%';
DROP INDEX CONCURRENTLY IF EXISTS webhook_deliveries_delivered;
CREATE INDEX CONCURRENTLY webhook_deliveries_delivered
    ON webhook_deliveries (endpoint_id, created_at, id) WHERE status = 'delivered';
