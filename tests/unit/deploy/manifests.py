"""What is deployed, as the programs that deploy it read it: kustomize and compose, offline."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
TOOLS = Path(sys.executable).parent
OVERLAYS = ("dev", "production")
SECRETS = {
    name: f"secret-{number}"
    for number, name in enumerate(
        (
            "ADMIN_KEY",
            "TOKEN_ENCRYPTION_KEY",
            "POSTGRES_PASSWORD",
            "API_DB_PASSWORD",
            "SESSION_HOST_DB_PASSWORD",
            "DEVICE_STORE_PASSWORD",
            "RABBITMQ_PASSWORD",
            "API_BROKER_PASSWORD",
            "SESSION_HOST_BROKER_PASSWORD",
        )
    )
}

Resource = Mapping[str, Any]


@functools.cache
def overlay(name: str) -> tuple[Resource, ...]:
    """Every resource of an overlay, as `kubectl apply -k` would send it."""
    built = subprocess.run(
        [TOOLS / "kubectl", "kustomize", str(ROOT / "deploy/k8s/overlays" / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def one(name: str, kind: str, resource: str) -> Resource:
    """The resource of that kind and name."""
    (found,) = (r for r in overlay(name) if r["kind"] == kind and r["metadata"]["name"] == resource)
    return found


def pods(name: str) -> Iterator[tuple[str, Resource]]:
    """(kind/name of the owner, pod template) of everything of that overlay that runs pods."""
    for resource in overlay(name):
        if resource["kind"] in {"Deployment", "StatefulSet", "Job"}:
            owner = f"{resource['kind']}/{resource['metadata']['name']}"
            yield owner, resource["spec"]["template"]


def containers(name: str) -> Iterator[tuple[str, Resource, Resource]]:
    """(owner, pod's spec, container) of every container, init containers included."""
    for owner, template in pods(name):
        spec = template["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield owner, spec, container


def compose(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`docker compose` with that environment and no `.env`; needs no engine for `config`."""
    return subprocess.run(
        [
            *(TOOLS / "docker-compose", "--file", ROOT / "docker-compose.yml"),
            *("--env-file", os.devnull, "--profile", "*", *arguments),
        ],
        env={"PATH": os.environ["PATH"], **(SECRETS if environment is None else environment)},
        capture_output=True,
        text=True,
        check=False,
    )


@functools.cache
def compose_model() -> Resource:
    """The compose file with everything resolved."""
    shown = compose("config", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    model: Resource = json.loads(shown.stdout)
    return model
