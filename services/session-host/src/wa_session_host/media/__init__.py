"""Outgoing media, fetched just before the send."""
