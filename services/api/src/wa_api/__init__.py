"""The api: HTTP in front of the ring, the projector behind it, and webhooks."""
