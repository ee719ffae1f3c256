"""What both services run on: broker, migrations, logs, traces, addresses. Consumers need none of it."""
