"""The overlays: valid by Kubernetes' schemas and the operators', safe, and whole."""

import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.unit.deploy.manifests import (
    OVERLAYS,
    ROOT,
    Resource,
    compose_model,
    containers,
    one,
    overlay,
    pods,
)
from tests.unit.deploy.operator_schemas import SCHEMAS
from wa_contracts.topology import PARTITIONS
from wa_session_host.partitions.supervisor import DRAIN_SECONDS

OLDEST, NEWEST = "1.31", "1.37"
OURS = ("wa-api", "wa-projector", "wa-webhooks", "wa-session-host", "wa-migrate")

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


@every_overlay
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_resource_is_valid(name: str, version: str) -> None:
    for resource in overlay(name):
        schema = SCHEMAS.get(resource["kind"])
        if schema is None:
            kubernetes_validate.validate(dict(resource), version, strict=True)
        else:
            jsonschema.validate(resource, schema)


@every_overlay
@pytest.mark.parametrize(
    "spoil",
    [
        lambda pod: pod.update(replica=2),
        lambda pod: pod["containers"][0].pop("name"),
        lambda pod: pod["containers"][0].update(command="run"),
    ],
)
def test_the_validation_refuses_what_is_wrong(name: str, spoil: Any) -> None:
    resource = yaml.safe_load(yaml.safe_dump(dict(one(name, "Deployment", "wa-api"))))
    spoil(resource["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, NEWEST, strict=True)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_operators_schemas_refuse_an_unknown_field(kind: str) -> None:
    resource = next(r for r in overlay("production") if r["kind"] == kind)
    spoilt = {**resource, "spec": {**resource["spec"], "replicaz": 3}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoilt, SCHEMAS[kind])


@every_overlay
def test_pods_keep_the_restricted_profile(name: str) -> None:
    for owner, template in pods(name):
        spec = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), owner
        assert spec["automountServiceAccountToken"] is False, owner
        assert spec["securityContext"]["runAsNonRoot"] is True, owner
        assert spec["securityContext"]["runAsUser"] > 0, owner
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert all("hostPath" not in volume for volume in spec.get("volumes", ())), owner
    for owner, _, container in containers(name):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, owner
        assert context["readOnlyRootFilesystem"] is True, owner
        assert context["capabilities"] == {"drop": ["ALL"]}, owner
        assert "privileged" not in context, owner
        assert all("hostPort" not in port for port in container.get("ports", ())), owner


@every_overlay
def test_every_container_has_limits(name: str) -> None:
    for owner, _, container in containers(name):
        resources = container["resources"]
        assert {"cpu", "memory", "ephemeral-storage"} == set(resources["limits"]), owner
        assert {"cpu", "memory", "ephemeral-storage"} == set(resources["requests"]), owner


@every_overlay
def test_images_are_pinned_and_those_of_compose(name: str) -> None:
    images = {container["image"] for _, _, container in containers(name)}
    images |= {
        resource["spec"].get("imageName") or resource["spec"]["image"]
        for resource in overlay(name)
        if resource["kind"] in {"Cluster", "RabbitmqCluster"}
    }
    for image in images:
        assert re.search(r":v?\d+\.\d+(\.\d+)?[\w.-]*$", image), image
    in_compose = {s["image"] for s in compose_model()["services"].values()}
    foreign = {image for image in images if not re.search(r"wa-[a-z-]+:|cloudnative-pg", image)}
    assert foreign <= in_compose


def test_postgres_is_of_one_version_everywhere() -> None:
    tag = one("production", "Cluster", "wa-postgres")["spec"]["imageName"].rpartition(":")[2]
    assert compose_model()["services"]["postgres"]["image"] == f"postgres:{tag.partition('-')[0]}"


def test_production_puts_the_device_store_behind_a_pool_in_transaction_mode() -> None:
    settings = next(
        one["data"]
        for one in overlay("production")
        if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("wa-settings")
    )
    pool = one("production", "Pooler", settings["DEVICE_STORE_HOST"])["spec"]
    assert (pool["pgbouncer"]["poolMode"], pool["type"]) == ("transaction", "rw")
    assert "binary_parameters=yes" in settings["DEVICE_STORE_OPTIONS"]


@every_overlay
def test_the_broker_is_below_4_3(name: str) -> None:
    images = re.findall(r"rabbitmq:(\d+)\.(\d+)", str(overlay(name)))
    assert images
    assert all((int(major), int(minor)) < (4, 3) for major, minor in images)


@every_overlay
def test_the_namespace_enforces_the_restricted_profile(name: str) -> None:
    (namespace,) = (r for r in overlay(name) if r["kind"] == "Namespace")
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = {r["metadata"].get("namespace") for r in overlay(name) if r is not namespace}
    assert inside == {namespace["metadata"]["name"]}


@every_overlay
def test_what_pods_refer_to_is_there(name: str) -> None:
    there = {(r["kind"], r["metadata"]["name"]): r for r in overlay(name)}
    secrets = _secrets(name)
    for owner, _, container in containers(name):
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if reference := source.get("configMapKeyRef"):
                data = there["ConfigMap", reference["name"]]["data"]
                assert reference["key"] in data, (owner, variable)
            if reference := source.get("secretKeyRef"):
                found = reference["key"] in secrets[reference["name"]]
                assert found or reference.get("optional"), (owner, variable)


def _secrets(name: str) -> dict[str, set[str]]:
    """Secrets with their keys: those of the overlay, its template's, and the operators'."""
    found = {
        r["metadata"]["name"]: {*r.get("data", {}), *r.get("stringData", {})}
        for r in overlay(name)
        if r["kind"] == "Secret"
    }
    if name == "production":
        template = ROOT / "deploy/k8s/overlays/production/secrets.template.yaml"
        for secret in yaml.safe_load_all(template.read_text()):
            kubernetes_validate.validate(secret, NEWEST, strict=True)
            found[secret["metadata"]["name"]] = set(secret["stringData"])
        found["wa-rabbitmq-default-user"] = {"username", "password", "host", "port"}
    return found


def test_production_holds_no_secret_and_its_template_no_value() -> None:
    assert not [r for r in overlay("production") if r["kind"] == "Secret"]
    template = ROOT / "deploy/k8s/overlays/production/secrets.template.yaml"
    for secret in yaml.safe_load_all(template.read_text()):
        for key, value in secret["stringData"].items():
            assert key == "username" or value == "CHANGE-ME"


@every_overlay
def test_a_variable_is_defined_before_it_is_used(name: str) -> None:
    for owner, _, container in containers(name):
        defined: set[str] = set()
        for variable in container.get("env", ()):
            used = set(re.findall(r"\$\((\w+)\)", variable.get("value", "")))
            assert used <= defined, (owner, variable["name"])
            defined.add(variable["name"])


def test_each_service_knows_only_its_own_secrets() -> None:
    known: dict[str, set[str]] = {}
    for owner, _, container in containers("production"):
        names = {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in container["env"]
            if "secretKeyRef" in variable.get("valueFrom", {})
        }
        known.setdefault(f"{owner} {container['name']}", set()).update(names)
    assert known == {
        "Deployment/wa-api api": {"wa-keys", "wa-postgres-api", "wa-rabbitmq-api"},
        "Deployment/wa-projector projector": {"wa-postgres-api", "wa-rabbitmq-api"},
        "Deployment/wa-webhooks webhooks": {"wa-keys", "wa-postgres-api"},
        "StatefulSet/wa-session-host session-host": {
            "wa-postgres-session-host",
            "wa-postgres-devices",
            "wa-rabbitmq-session-host",
        },
        "Job/wa-migrate broker": {
            "wa-rabbitmq-default-user",
            "wa-rabbitmq-api",
            "wa-rabbitmq-session-host",
        },
        "Job/wa-migrate api": {"wa-postgres-api"},
        "Job/wa-migrate session-host": {"wa-postgres-session-host"},
    }


@every_overlay
def test_selectors_find_the_pods_that_they_mean(name: str) -> None:
    labels = [template["metadata"]["labels"] for _, template in pods(name)]
    for kind in ("Deployment", "StatefulSet"):
        for resource in (r for r in overlay(name) if r["kind"] == kind):
            selector = resource["spec"]["selector"]["matchLabels"]
            assert _selected(selector, [resource["spec"]["template"]["metadata"]["labels"]])
    for resource in overlay(name):
        if resource["kind"] == "Service":
            assert len(_selected(resource["spec"]["selector"], labels)) == 1
        if resource["kind"] == "PodDisruptionBudget" and resource["metadata"]["name"] != (
            "wa-rabbitmq"  # the operator's pods in production
        ):
            selector = resource["spec"]["selector"]["matchLabels"]
            assert len(_selected(selector, labels)) == 1


def _selected(selector: Resource, labels: list[Resource]) -> list[Resource]:
    return [found for found in labels if selector.items() <= found.items()]


@every_overlay
def test_services_and_the_ingress_lead_to_ports_that_are_there(name: str) -> None:
    ports = {
        template["metadata"]["labels"]["app.kubernetes.io/name"]: {
            port["name"]
            for container in template["spec"]["containers"]
            for port in container.get("ports", ())
        }
        for _, template in pods(name)
    }
    offered = {}
    for service in (r for r in overlay(name) if r["kind"] == "Service"):
        targets = ports[service["spec"]["selector"]["app.kubernetes.io/name"]]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= targets
        offered[service["metadata"]["name"]] = {p["name"] for p in service["spec"]["ports"]}
    for rule in one(name, "Ingress", "wa-api")["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in offered[backend["name"]]
    for monitor in (r for r in overlay(name) if r["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        if wanted != "wa-rabbitmq":  # the operator's Service
            assert {e["port"] for e in monitor["spec"]["endpoints"]} <= offered[wanted]


@every_overlay
def test_probes_ask_ports_that_are_there_and_never_for_dependencies(name: str) -> None:
    for owner, spec, container in containers(name):
        if not owner.endswith(OURS) or owner.startswith("Job/"):
            continue
        ports = {port["name"] for port in container["ports"]}
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports, owner
        assert container["livenessProbe"]["httpGet"]["path"] in {"/livez", "/metrics"}
        patience = (
            container["livenessProbe"]["periodSeconds"]
            * (container["livenessProbe"]["failureThreshold"])
        )
        assert patience >= 60, f"{owner}: liveness restarts what only waits"
        assert spec["terminationGracePeriodSeconds"] >= 30
    # The api's own readiness asks the database; as a probe it would fail together with it.
    assert "/readyz" not in str(one(name, "Deployment", "wa-api"))


@every_overlay
def test_a_host_may_drain(name: str) -> None:
    host = one(name, "StatefulSet", "wa-session-host")["spec"]
    assert host["podManagementPolicy"] == "Parallel"
    assert host["template"]["spec"]["terminationGracePeriodSeconds"] >= DRAIN_SECONDS + 30


def test_the_autoscalers_own_the_number_of_replicas() -> None:
    targets = [
        one("production", target["kind"], target["name"])
        for r in overlay("production")
        if r["kind"] == "HorizontalPodAutoscaler" and (target := r["spec"]["scaleTargetRef"])
    ]
    assert len(targets) == 2
    assert all("replicas" not in target["spec"] for target in targets)
    hosts = one("production", "HorizontalPodAutoscaler", "wa-session-host")["spec"]
    assert hosts["maxReplicas"] <= PARTITIONS
