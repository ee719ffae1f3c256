"""The dashboard: HTML pages and their wording."""
