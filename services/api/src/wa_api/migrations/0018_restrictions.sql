-- When WhatsApp's restriction of a number ends, where WhatsApp names a time.
ALTER TABLE sessions ADD COLUMN restricted_until timestamptz;
UPDATE sessions SET restricted_until = (
    SELECT (event -> 'data' ->> 'until')::timestamptz FROM feed
    WHERE feed.session_id = sessions.session_id AND type = 'session.restricted'
    ORDER BY position DESC LIMIT 1)
WHERE status = 'restricted';
