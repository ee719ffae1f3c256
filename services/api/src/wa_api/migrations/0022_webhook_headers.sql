ALTER TABLE webhook_endpoints
    ADD COLUMN headers_cipher bytea,             -- AES-GCM of a JSON object: headers of the user's own
    ADD COLUMN header_names   text[] NOT NULL DEFAULT '{}';
