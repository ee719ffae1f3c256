"""Read tables, one module each."""
