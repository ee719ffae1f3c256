"""The Postgres pool, and notifications from Postgres."""
