"""Typed events for consumers: `async for event in subscribe(…)`.

Needs the `consumer` extra: `pip install './libs/contracts[consumer]'`.
"""

from wa_contracts.consumer.connection import SubscriptionRefused
from wa_contracts.consumer.subscription import Subscription, subscribe

__all__ = ["Subscription", "SubscriptionRefused", "subscribe"]
