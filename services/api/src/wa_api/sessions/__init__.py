"""Sessions: their life cycle, their look-ups, their QR codes."""
