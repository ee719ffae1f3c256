"""One session: its owner, its runner, its receipts."""
