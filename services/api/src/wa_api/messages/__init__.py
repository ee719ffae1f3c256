"""Sending messages, looking them up, and their media."""
