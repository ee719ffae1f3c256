"""Sessions: life cycle, look-ups and QR codes."""
