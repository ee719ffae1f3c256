"""The real engine: one process a session, the only importer of neonize."""
