"""Webhooks: endpoints that get the feed's events by signed HTTP requests.

The api keeps endpoints and shows deliveries; one process at a time (`python -m wa_api deliver`)
makes deliveries of the feed and sends them.
"""
