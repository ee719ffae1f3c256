"""What processes show at `/metrics`."""

from collections import defaultdict
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.system.ring import Ring

PORTS = {
    "host": "HEALTH_PORT",
    "api": "METRICS_PORT",
    "projector": "PROJECTOR_METRICS_PORT",
    "webhooks": "WEBHOOKS_METRICS_PORT",
}
"""Where each kind of process serves them, by the names of its environment."""

Labels = frozenset[tuple[str, str]]
Samples = Mapping[str, Mapping[Labels, float]]
"""Values by the sample's name, then by its labels."""


class Scrape:
    """What some processes show together."""

    def __init__(self) -> None:
        self.families: set[str] = set()
        self._samples: defaultdict[str, dict[Labels, float]] = defaultdict(dict)

    def read(self, text: str) -> None:
        """Add what one process shows."""
        for family in text_string_to_metric_families(text):
            self.families.add(family.name)
            for sample in family.samples:
                self._samples[sample.name][frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels among theirs; 0 without any."""
        wanted = set(labels.items())
        return sum(value for has, value in self._samples[name].items() if wanted <= has)


async def scraped(ring: Ring, *names: str) -> Scrape:
    """What these of a ring's processes show now.

    AssertionError if one shows nothing yet.
    """
    scrape = Scrape()
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        for name in names:
            port = ring.processes[name].orders.env[PORTS[name.partition("-")[0]]]
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/metrics")
            except httpx.TransportError as error:
                raise AssertionError(f"{name} shows nothing yet: {error!r}") from error
            assert answer.status_code == 200
            scrape.read(answer.text)
    return scrape
