"""Read tables, each made from events by one file."""
