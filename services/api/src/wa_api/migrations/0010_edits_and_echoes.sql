-- When a message's text was changed, and when it was deleted for everyone.
ALTER TABLE messages ADD COLUMN edited_at timestamptz, ADD COLUMN revoked_at timestamptz;
