"""Engines in processes of their own: starting, asking and ending them."""
