"""The way to Postgres, and its notifications."""
