"""Webhooks: endpoints that receive feed events as signed HTTP requests.

The api manages endpoints and shows deliveries. One process at a time (`python -m wa_api deliver`)
creates deliveries from the feed and sends them.
"""
