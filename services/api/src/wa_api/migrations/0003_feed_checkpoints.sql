-- After a rebuild the read tables may be ahead of the feed: then this is how far the feed has the
-- session's events. Null: as far as they are applied.
ALTER TABLE checkpoints ADD COLUMN fed_sequence bigint;
DROP INDEX checkpoints_gaps;
CREATE INDEX checkpoints_gaps ON checkpoints (session_id)
    WHERE seen_sequence > coalesce(fed_sequence, applied_sequence);

-- When the message's last event happened: what has not changed for RETENTION_DAYS is forgotten.
ALTER TABLE messages ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
