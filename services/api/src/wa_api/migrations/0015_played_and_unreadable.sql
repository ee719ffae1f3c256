-- When a voice note or a video was played, and whether its recipient could not read a message.
ALTER TABLE messages ADD COLUMN played_at timestamptz,
    ADD COLUMN retry_requested boolean NOT NULL DEFAULT false;
