"""WhatsApp connections behind one port: real engines in worker processes, and simulated ones."""
