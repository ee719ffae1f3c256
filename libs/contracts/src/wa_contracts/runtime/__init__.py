"""How a process of this product starts, the same for every service: its logs and its migrations.

Needs the `service` extra; consumers of events do not.
"""
