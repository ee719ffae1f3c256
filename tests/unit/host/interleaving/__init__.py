"""Whole hosts in one process, on a clock that jumps: their parts are real, their ports scripted."""
