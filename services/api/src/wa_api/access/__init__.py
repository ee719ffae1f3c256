"""Who may ask: tokens, the admin's key, the sign-in, and how often."""
