"""The whole stack on one machine: Postgres, RabbitMQ and both services as child processes."""
