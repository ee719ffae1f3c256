-- Who changed what. Rows are never changed; old ones are deleted.
CREATE TABLE audit (
    id           uuid PRIMARY KEY,
    occurred_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    action       text NOT NULL,
    actor        text NOT NULL,              -- admin_key, page, api_key
    actor_name   text NOT NULL,
    key_id       uuid,                       -- of an API key
    address      text NOT NULL,              -- the client's
    session_id   uuid,
    subject_id   uuid,                       -- the API key or webhook that was changed
    subject_name text,
    details      jsonb NOT NULL              -- never a secret
);
CREATE INDEX audit_newest ON audit (occurred_at DESC, id DESC);
CREATE INDEX audit_of_session ON audit (session_id, occurred_at DESC, id DESC);
