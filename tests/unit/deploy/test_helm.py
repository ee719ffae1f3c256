"""The Helm chart: the objects of the kustomize base, as the real Helm renders them."""

import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.helm import generate
from tests.unit.deploy.manifests import ROOT, TOOLS
from tests.unit.deploy.test_kubernetes import NEWEST, OLDEST

HELM, CHART = TOOLS / "helm", ROOT / "deploy" / "helm"
BUNDLED = ("postgres.bundled=true", "rabbitmq.bundled=true")
EXTERNAL = ("postgres.host=db.example", "rabbitmq.host=broker.example")

pytestmark = pytest.mark.skipif(
    not HELM.exists(), reason="The registry has the helm program for Linux on x86-64 only."
)

Resource = dict[str, Any]


def helm(command: str, *values: str) -> subprocess.CompletedProcess[str]:
    """Helm with these values."""
    told = [part for value in values for part in ("--set", value)]
    name = ["release"] if command == "template" else []
    return subprocess.run(
        [HELM, command, *name, CHART, *told], capture_output=True, text=True, check=False
    )


def rendered(*values: str) -> dict[tuple[str, str], Resource]:
    """The chart's objects by kind and name."""
    done = helm("template", *values)
    assert done.returncode == 0, done.stderr
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    assert len(found) == len(objects)
    return found


def of_the_base() -> dict[tuple[str, str], Resource]:
    """What the chart must make without bundled servers, but for Secrets."""
    objects = {(one["kind"], one["metadata"]["name"]): one for one in generate.base()}
    job = objects.pop(("Job", "wa-migrate"))
    job["metadata"]["name"] = "wa-migrate-1"
    settings = objects["ConfigMap", "wa-settings"]["data"]
    settings |= dict.fromkeys(("POSTGRES_HOST", "DEVICE_STORE_HOST"), "db.example")
    settings |= dict.fromkeys(("POSTGRES_OPTIONS", "DEVICE_STORE_OPTIONS"), "")
    settings["RABBITMQ_HOST"] = "broker.example"
    return {**objects, ("Job", "wa-migrate-1"): job}


def test_the_files_are_those_that_the_base_makes() -> None:
    for path, text in generate.files().items():
        assert path.read_text() == text, "run: python -m deploy.helm.generate"


def test_the_chart_is_the_base() -> None:
    found = rendered(*EXTERNAL, "secrets.create=false")
    for one in found.values():
        pod = one["spec"].get("template") if "spec" in one else None
        if pod is not None and one["kind"] != "Ingress":
            assert len(pod["metadata"].pop("annotations")["checksum/settings"]) == 64
    assert found == of_the_base()


def test_bundled_servers_are_those_of_the_development_overlay() -> None:
    found = rendered(*BUNDLED)
    for server in generate.servers():
        assert found[server["kind"], server["metadata"]["name"]] == server
    settings = found["ConfigMap", "wa-settings"]["data"]
    assert settings["DEVICE_STORE_HOST"] == "wa-postgres"
    assert settings["RABBITMQ_HOST"] == "wa-rabbitmq"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", [EXTERNAL, BUNDLED], ids=["external", "bundled"])
def test_every_object_is_valid(values: tuple[str, ...], version: str) -> None:
    for one in rendered(*values).values():
        kubernetes_validate.validate(one, version, strict=True)


def test_every_secret_that_pods_name_is_made_or_named() -> None:
    found = rendered(*BUNDLED)
    asked = {
        (ref["name"], ref["key"])
        for one in found.values()
        for container in one.get("spec", {})
        .get("template", {})
        .get("spec", {})
        .get("containers", ())
        for variable in container.get("env", ())
        if (ref := variable.get("valueFrom", {}).get("secretKeyRef"))
        if not ref.get("optional")
    }
    made = {
        (name, key)
        for (kind, name), one in found.items()
        if kind == "Secret"
        for key in one["data"]
    }
    assert asked <= made
    assert asked


def test_values_decide() -> None:
    found = rendered(
        *(*EXTERNAL, "replicas.sessionHost=5", "images.api=registry.example/wa-api:1"),
        *("ingress.host=wa.example", "ingress.className=nginx", "ingress.tlsSecret=tls"),
        *("settings.LOG_LEVEL=DEBUG", "networkPolicies=false", "resources.api.limits.memory=1Gi"),
    )
    assert found["StatefulSet", "wa-session-host"]["spec"]["replicas"] == 5
    (container,) = found["Deployment", "wa-api"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/wa-api:1"
    assert container["resources"]["limits"]["memory"] == "1Gi"
    ingress = found["Ingress", "wa-api"]["spec"]
    assert ingress["rules"][0]["host"] == "wa.example"
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"hosts": ["wa.example"], "secretName": "tls"}]
    assert found["ConfigMap", "wa-settings"]["data"]["LOG_LEVEL"] == "DEBUG"
    assert not [kind for kind, _ in found if kind == "NetworkPolicy"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((), "Name your Postgres (postgres.host)"),
        (("postgres.bundled=true",), "Name your RabbitMQ (rabbitmq.host)"),
        ((*EXTERNAL, "settings.PACE_PER_DAY=100"), "settings.PACE_PER_DAY"),
        ((*EXTERNAL, "settings.UNHEARD_OF=x"), "UNHEARD_OF"),
        ((*EXTERNAL, "replicas.api=-1"), "replicas.api"),
    ],
    ids=["no Postgres", "no RabbitMQ", "a number", "an unknown setting", "too few"],
)
def test_wrong_values_are_refused(values: tuple[str, ...], says: str) -> None:
    done = helm("template", *values)
    assert done.returncode != 0
    assert says in done.stderr


def test_helm_finds_nothing_to_complain_about() -> None:
    done = helm("lint", *BUNDLED)
    assert done.returncode == 0, done.stdout


def test_the_chart_has_the_version_of_the_images() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    images = yaml.safe_load(generate.values())["images"].values()
    assert {image.rpartition(":")[2] for image in images} == {chart["appVersion"]}
