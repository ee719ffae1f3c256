"""States of sessions and messages and their transitions: pure, without I/O and without a clock."""
