-- When a scheduled message is sent.
ALTER TABLE messages ADD COLUMN send_at timestamptz;
