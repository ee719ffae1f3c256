"""Messages that could not be handled: collected, listed, put back."""
