-- The trace that an event belongs to (W3C traceparent), so that it goes on where the relay publishes; null without one.
ALTER TABLE events ADD COLUMN traceparent text;
