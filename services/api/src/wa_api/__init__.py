"""The api: HTTP, the projector, and webhooks."""
