-- Uploads. The files lie in the media store, under session_id/id.
CREATE TABLE media (
    id         uuid PRIMARY KEY,
    session_id uuid NOT NULL,
    mime_type  text NOT NULL,
    file_name  text,
    size       bigint NOT NULL,               -- announced, until the upload is complete
    sha256     text,                          -- null until the upload is complete
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX media_of_session ON media (session_id);
CREATE INDEX media_by_expiry ON media (expires_at);
