"""Runtime of both services: broker, migrations, logs, traces, addresses. Not for consumers."""
