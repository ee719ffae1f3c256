"""The process that delivers the feed's events to webhook endpoints."""
