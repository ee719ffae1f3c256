"""Shared by the routes of all packages: problems, bodies and paging."""
