"""What the routes of all packages share: problems, bodies, paging."""
