"""Media that clients upload and send by id."""
