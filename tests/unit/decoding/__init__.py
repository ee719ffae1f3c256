"""What becomes of files of every kind."""
