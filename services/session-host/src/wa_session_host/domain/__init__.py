"""What sessions and messages are and how they change: pure, without I/O and without a clock."""
