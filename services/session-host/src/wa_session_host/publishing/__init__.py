"""Publishes events, replays and media to RabbitMQ."""
