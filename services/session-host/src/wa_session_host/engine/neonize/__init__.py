"""The real engine, one process per session: the only importer of neonize."""
