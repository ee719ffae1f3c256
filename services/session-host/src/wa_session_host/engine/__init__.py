"""WhatsApp connections behind one port: the real engine in worker processes, and a simulated one."""
