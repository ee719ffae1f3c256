"""The api against a scripted host, on real Postgres and RabbitMQ."""
