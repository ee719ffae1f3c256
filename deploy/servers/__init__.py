"""Postgres and RabbitMQ of this machine: from Debian packages or in containers."""
