"""Makes the chart's templates and schema from the kustomize base: `python -m deploy.helm.generate`.

Every object of the base becomes a template with the same content, except for what values decide.
The servers of the development overlay become the bundled ones. A test compares both.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KUSTOMIZE = ROOT / "deploy" / "k8s"

Resource = dict[str, Any]

_HASHED = re.compile(r"\b(wa-[a-z-]+)-[2456789bcdfghkmt]{10}\b")
"""A name that kustomize made of a name and the hash of its content (its alphabet: its `encode`)."""
_MARK = re.compile(r"'?@\{(.*?)\}@'?")
_SERVERS = ("wa-postgres", "wa-rabbitmq")
_VALUES_OF = {
    "wa-api": "api",
    "wa-projector": "projector",
    "wa-webhooks": "webhooks",
    "wa-session-host": "sessionHost",
}
_IMAGES = {"wa-api": "api", "wa-session-host": "sessionHost"}
_PLACES = (
    "POSTGRES_HOST",
    "POSTGRES_OPTIONS",
    "DEVICE_STORE_HOST",
    "DEVICE_STORE_OPTIONS",
    "RABBITMQ_HOST",
)
"""Settings that the chart takes from `postgres` and `rabbitmq`, not from `settings`."""


def base() -> list[Resource]:
    """The base's objects, without hashes in names."""
    return _built("base")


def servers() -> list[Resource]:
    """Postgres and RabbitMQ of the development overlay, with Postgres's first script."""
    kept = [*_SERVERS, "wa-postgres-init"]
    found = []
    for resource in _built("overlays/dev"):
        if resource["metadata"]["name"] in kept and resource["kind"] != "NetworkPolicy":
            del resource["metadata"]["namespace"]
            found.append(resource)
    return found


def _built(folder: str) -> list[Resource]:
    tool = Path(sys.executable).parent / "kubectl"
    done = subprocess.run(
        [tool, "kustomize", str(KUSTOMIZE / folder)], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(_HASHED.sub(r"\1", done.stdout)))


def settings() -> dict[str, str]:
    """The base's settings with their defaults."""
    (found,) = (one for one in base() if one["kind"] == "ConfigMap")
    data: dict[str, str] = found["data"]
    return data


def templates() -> dict[str, str]:
    """The content of every generated template, by its file's name."""
    made: dict[str, list[str]] = {}
    for resource in base():
        name, text = _template(resource)
        made.setdefault(name, []).append(text)
    for resource in servers():
        server = "rabbitmq" if "rabbitmq" in resource["metadata"]["name"] else "postgres"
        text = _conditional(_dumped(resource), f".Values.{server}.bundled")
        made.setdefault(f"bundled-{server}.yaml", []).append(text)
    return {name: _GENERATED + "---\n".join(parts) for name, parts in made.items()}


_GENERATED = "{{- /* Made by python -m deploy.helm.generate from deploy/k8s; do not edit. */}}\n"


def _template(resource: Resource) -> tuple[str, str]:
    kind, name = resource["kind"], resource["metadata"]["name"]
    match kind:
        case "ConfigMap":
            resource["data"] = _mark('include "wa.settings" . | fromYaml | toJson')
        case "Ingress":
            return "ingress.yaml", _conditional(_ingress(resource), ".Values.ingress.enabled")
        case "NetworkPolicy":
            return "network-policies.yaml", _conditional(
                _dumped(resource), ".Values.networkPolicies"
            )
        case "Job":
            # A Job cannot be changed: each revision has its own.
            resource["metadata"]["name"] = f"{name}-" + _mark(".Release.Revision")
            _fill_pod(resource, None)
        case "Deployment" | "StatefulSet":
            values = _VALUES_OF[name]
            resource["spec"]["replicas"] = _mark(f".Values.replicas.{values}")
            _fill_pod(resource, values)
    file = "settings" if kind == "ConfigMap" else name.removeprefix("wa-")
    return f"{file}.yaml", _dumped(resource)


def _fill_pod(resource: Resource, values: str | None) -> None:
    template = resource["spec"]["template"]
    annotations = template["metadata"].setdefault("annotations", {})
    annotations["checksum/settings"] = _mark('include "wa.settings" . | sha256sum')
    for container in template["spec"]["containers"]:
        image = container["image"].partition(":")[0]
        container["image"] = _mark(f".Values.images.{_IMAGES[image]}")
        if values is not None:
            container["resources"] = _mark(f".Values.resources.{values} | toJson")


def _ingress(resource: Resource) -> str:
    (rule,) = resource["spec"]["rules"]
    rule["host"] = _mark(".Values.ingress.host | quote")
    resource["metadata"]["annotations"] = _mark(".Values.ingress.annotations | toJson")
    text = _dumped(resource)
    return text + (
        "{{- with .Values.ingress.className }}\n  ingressClassName: {{ . | quote }}\n{{- end }}\n"
        "{{- with .Values.ingress.tlsSecret }}\n"
        "  tls: [{ hosts: [{{ $.Values.ingress.host | quote }}], secretName: {{ . | quote }} }]\n"
        "{{- end }}\n"
    )


def _mark(expression: str) -> str:
    """A value that Helm computes."""
    return "@{" + expression + "}@"


def _dumped(resource: Resource) -> str:
    text = yaml.safe_dump(resource, sort_keys=False, width=10_000)
    return _MARK.sub(lambda found: "{{ " + found[1].replace("''", "'") + " }}", text)


def _conditional(text: str, condition: str) -> str:
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"


def schema() -> str:
    """What values may be: every name is known, every setting is a text."""
    text, flag = {"type": "string"}, {"type": "boolean"}
    count = {"type": "integer", "minimum": 0}
    per_service = list(_VALUES_OF.values())

    def closed(properties: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": False, "properties": dict(properties)}

    own = [name for name in settings() if name not in _PLACES]
    made = closed(
        {
            "images": closed(dict.fromkeys(_IMAGES.values(), text)),
            "replicas": closed(dict.fromkeys(per_service, count)),
            "resources": closed({name: {"type": "object"} for name in per_service}),
            "settings": closed(dict.fromkeys(own, text)),
            "postgres": closed(
                {
                    "bundled": flag,
                    "host": text,
                    "options": text,
                    "deviceStoreHost": text,
                    "deviceStoreOptions": text,
                }
            ),
            "rabbitmq": closed({"bundled": flag, "host": text}),
            "secrets": closed({"create": flag}),
            "ingress": closed(
                {
                    "enabled": flag,
                    "host": text,
                    "className": text,
                    "tlsSecret": text,
                    "annotations": {"type": "object", "additionalProperties": text},
                }
            ),
            "networkPolicies": flag,
            "global": {"type": "object"},
        }
    )
    draft = {"$schema": "https://json-schema.org/draft-07/schema#", **made}
    return json.dumps(draft, indent=2) + "\n"


def values() -> str:
    """The defaults: the base's own."""
    objects = {(one["kind"], one["metadata"]["name"]): one for one in base()}
    running = {
        _VALUES_OF[name]: one
        for (kind, name), one in objects.items()
        if kind in {"Deployment", "StatefulSet"}
    }
    ingress = objects["Ingress", "wa-api"]
    no_store = {"deviceStoreHost": "", "deviceStoreOptions": ""}
    made: dict[str, Any] = {
        "images": {name: _first(running[name])["image"] for name in _IMAGES.values()},
        "replicas": {name: one["spec"]["replicas"] for name, one in running.items()},
        "resources": {name: _first(one)["resources"] for name, one in running.items()},
        "settings": {k: v for k, v in settings().items() if k not in _PLACES},
        "postgres": {"bundled": False, "host": "", "options": "", **no_store},
        "rabbitmq": {"bundled": False, "host": ""},
        "secrets": {"create": True},
        "ingress": {
            "enabled": True,
            "host": ingress["spec"]["rules"][0]["host"],
            "className": "",
            "tlsSecret": "",
            "annotations": ingress["metadata"]["annotations"],
        },
        "networkPolicies": True,
    }
    parts = [
        "".join(f"# {line}\n" for line in _COMMENTS.get(name, "").splitlines())
        + yaml.safe_dump({name: content}, sort_keys=False, width=10_000)
        for name, content in made.items()
    ]
    return "\n".join([_OVERRIDE, *parts])


_OVERRIDE = (
    "# Made by python -m deploy.helm.generate from deploy/k8s: override it, do not edit it.\n"
)
_COMMENTS = {
    "images": "With registry and tag.",
    "replicas": "A second projector or webhooks process is a standby.",
    "settings": "See docs/settings.md. Every value is a text: quote numbers.",
    "postgres": """\
One server for a trial (bundled), or yours. `options` begin with a question mark. The device store
needs a pool, or two connections a session; empty is the same as host and options.""",
    "rabbitmq": "One node for a trial (bundled), or yours.",
    "secrets": """\
Makes wa-keys, the passwords of the broker's users and those of bundled servers. They stay when the
release goes. Make all others as in deploy/k8s/overlays/production/secrets.template.yaml.""",
    "ingress": "The annotations are ingress-nginx's: events stay open.",
    "networkPolicies": "Needs a network plug-in that enforces them.",
}


def _first(resource: Resource) -> Resource:
    container: Resource = resource["spec"]["template"]["spec"]["containers"][0]
    return container


def files() -> dict[Path, str]:
    """Every generated file and its content."""
    made = {HERE / "templates" / name: text for name, text in templates().items()}
    return {HERE / "values.yaml": values(), HERE / "values.schema.json": schema(), **made}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
        print(path.relative_to(ROOT))
