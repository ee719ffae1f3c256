"""The projector: consumes events and writes the read tables."""
