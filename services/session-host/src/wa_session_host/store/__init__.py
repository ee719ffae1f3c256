"""The event store and the leases, in Postgres."""
