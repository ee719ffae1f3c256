"""Messages between the services, not for event consumers."""
