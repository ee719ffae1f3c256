"""Decodes and converts outgoing media, in a process of its own."""
