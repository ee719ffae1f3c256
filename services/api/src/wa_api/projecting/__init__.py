"""The projector: events in, read tables out."""
