-- Endpoints that want a link to the media of incoming messages in their bodies.
ALTER TABLE webhook_endpoints ADD COLUMN include_media boolean NOT NULL DEFAULT false;
