"""Events, replays and media on their way to RabbitMQ."""
