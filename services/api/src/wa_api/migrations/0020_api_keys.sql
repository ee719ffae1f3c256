-- API keys of people and programs. A revoked key has no row.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,      -- SHA-256 of the key
    scopes       text[] NOT NULL,
    session_ids  uuid[],                     -- null: all sessions
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz                 -- exact to a minute
);
CREATE INDEX api_keys_newest ON api_keys (created_at, id);
