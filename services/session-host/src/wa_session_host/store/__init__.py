"""Event store and leases in Postgres."""
