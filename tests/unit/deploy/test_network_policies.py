"""Who may connect to whom in Kubernetes."""

from collections.abc import Iterator

import pytest

from tests.unit.deploy.manifests import (
    OVERLAYS,
    Resource,
    one,
    overlay,
)

OURS = ("wa-api", "wa-projector", "wa-webhooks", "wa-session-host", "wa-migrate")


every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def _allowed(name: str, direction: str, labels: Resource) -> Iterator[Resource]:
    """The rules of every policy that selects a pod with these labels."""
    for policy in (r for r in overlay(name) if r["kind"] == "NetworkPolicy"):
        if direction in policy["spec"]["policyTypes"] and _matches(
            policy["spec"]["podSelector"], labels
        ):
            yield from policy["spec"].get(direction.lower(), ())


def _matches(selector: Resource, labels: Resource) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _calls(name: str, caller: Resource, callee: Resource, port: int) -> bool:
    """Whether both sides' policies let one pod of the namespace call another."""

    def passes(direction: str, of: Resource, other: Resource) -> bool:
        side = "to" if direction == "Egress" else "from"
        return any(
            any(entry["port"] == port for entry in rule["ports"])
            and any(
                "podSelector" in peer
                and "namespaceSelector" not in peer
                and _matches(peer["podSelector"], other)
                for peer in rule.get(side, ())
            )
            for rule in _allowed(name, direction, of)
        )

    return passes("Egress", caller, callee) and passes("Ingress", callee, caller)


@every_overlay
def test_the_network_lets_through_what_the_ring_needs_and_no_more(name: str) -> None:
    postgres = {"whatsapp-sessions/server": "postgres"}
    rabbitmq = {"whatsapp-sessions/server": "rabbitmq"}
    ours = {app: {"app.kubernetes.io/name": app} for app in OURS}
    assert {app: _calls(name, labels, postgres, 5432) for app, labels in ours.items()} == (
        dict.fromkeys(OURS, True)
    )
    assert {app: _calls(name, labels, rabbitmq, 5672) for app, labels in ours.items()} == {
        **dict.fromkeys(OURS, True),
        "wa-migrate": False,
        "wa-webhooks": False,
    }
    assert [app for app in OURS if _calls(name, ours[app], rabbitmq, 15672)] == ["wa-migrate"]
    for caller in ours.values():
        for callee in ours.values():
            assert not any(_calls(name, caller, callee, port) for port in (3000, 8081, 9464))
    # Out into the internet: those who call WhatsApp, media, webhooks and the uploads' bucket.
    for app, labels in ours.items():
        outside = [
            peer
            for rule in _allowed(name, "Egress", labels)
            for peer in rule.get("to", [{"ipBlock": {"cidr": "anywhere"}}])
            if "ipBlock" in peer
        ]
        assert bool(outside) is (app in {"wa-api", "wa-session-host", "wa-webhooks"}), app
    assert list(_allowed(name, "Ingress", {})) == []
    assert list(_allowed(name, "Egress", {})) == list(
        one(name, "NetworkPolicy", "wa-names")["spec"]["egress"]
    )


@every_overlay
def test_traces_reach_a_collector_beside_prometheus_and_nothing_else_does(name: str) -> None:
    def reached(app: str) -> bool:
        return any(
            {"protocol": "TCP", "port": 4318} in rule["ports"]
            and rule["to"]
            == [
                {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}
                    }
                }
            ]
            for rule in _allowed(name, "Egress", {"app.kubernetes.io/name": app})
        )

    assert {app: reached(app) for app in OURS} == {**dict.fromkeys(OURS, True), "wa-migrate": False}


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ],
)
def test_what_others_name_is_not_reached_on_the_inside(address: str) -> None:
    policy = one("production", "NetworkPolicy", "wa-to-internet")
    (block,) = (
        peer["ipBlock"]
        for rule in policy["spec"]["egress"]
        for peer in rule["to"]
        if peer["ipBlock"]["cidr"] == "0.0.0.0/0"
    )
    assert address in block["except"]
