"""Partitions held by this host, and their commands."""
