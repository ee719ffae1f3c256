"""Alert rules and dashboard: syntax, and no metric that nothing exposes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.unit.deploy.manifests import ROOT, one
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.serving.metrics import ApiMetrics
from wa_api.webhooks.delivering.metrics import WebhookMetrics
from wa_session_host.domain.observations import ClientVersion
from wa_session_host.health import EngineMetrics, PartitionMetrics, WorkerMetrics
from wa_session_host.metrics import HostMetrics

MONITORING = ROOT / "deploy/monitoring"
GROUPS = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
# RabbitMQ's own, at /metrics/detailed?family=queue_coarse_metrics of its Prometheus plug-in.
FOREIGN = {"up", "rabbitmq_detailed_queue_messages"}


def _exposed() -> set[str]:
    registry = CollectorRegistry()
    ApiMetrics(registry)
    ProjectorMetrics(registry)
    WebhookMetrics(registry)
    HostMetrics(registry)
    registry.register(PartitionMetrics(lambda: ()))
    registry.register(WorkerMetrics(lambda: ()))
    registry.register(EngineMetrics(lambda: ClientVersion("engine", "2.3000.1")))
    names: set[str] = set()
    for metric in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        names.update(metric.name + end for end in suffixes.get(metric.type, ("",)))
    return names


def _used(expression: str) -> set[str]:
    promql_parser.parse(expression)
    without_text = re.sub(r'"[^"]*"|\{[^}]*\}', "", expression)
    return set(re.findall(r"\b(?:wa|rabbitmq)_[a-z_]+|\bup\b", without_text))


def _queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_can_fire_and_says_what_is_wrong(rule: dict[str, Any]) -> None:
    assert _used(rule["expr"]) <= _exposed() | FOREIGN
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    if "for" in rule:
        promql_parser.parse_duration(rule["for"])


def test_alerts_have_names_of_their_own_and_a_paragraph_each() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    operations = (ROOT / "docs/operations.md").read_text()
    assert [name for name in names if f"**{name}**" not in operations] == []


def test_the_operator_gets_the_same_rules() -> None:
    assert one("production", "PrometheusRule", "whatsapp-sessions")["spec"]["groups"] == GROUPS


def test_jobs_are_those_that_are_scraped() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())
    jobs = {job["job_name"] for job in scraped["scrape_configs"]}
    named = {job for rule in RULES for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert named <= jobs


@pytest.mark.parametrize("expression", sorted(set(_queries())))
def test_the_dashboard_shows_what_is_exposed(expression: str) -> None:
    assert _used(expression) <= _exposed() | FOREIGN


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["id"] for panel in DASHBOARD["panels"])


def test_the_autoscalers_metric_is_exposed() -> None:
    hosts = one("production", "HorizontalPodAutoscaler", "wa-session-host")
    (metric,) = hosts["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in _exposed()
    values = yaml.safe_load((MONITORING / "prometheus-adapter.yaml").read_text())
    assert [rule["name"]["as"] for rule in values["rules"]["custom"]] == [name]
