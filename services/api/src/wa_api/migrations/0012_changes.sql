-- The message that an edit or a revoke changes.
ALTER TABLE messages ADD COLUMN target_id uuid;
