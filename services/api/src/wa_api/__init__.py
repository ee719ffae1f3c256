"""The api: HTTP in front of the ring, and the projector behind it."""
