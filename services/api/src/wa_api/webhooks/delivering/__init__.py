"""The process that delivers feed events to webhook endpoints."""
