"""Authentication, the admin key, sign-in, and limits per client."""
