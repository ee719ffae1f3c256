"""Engines in worker processes: start, calls and end."""
