"""The stateful service: owns sessions, runs their WhatsApp connections, stores their events."""
