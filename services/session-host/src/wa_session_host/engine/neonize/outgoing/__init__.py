"""What a session sends and asks: recipients, contents, and what WhatsApp answers."""
