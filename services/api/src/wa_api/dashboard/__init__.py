"""The page: its HTML, what it shows and in which words."""
