"""Each setting about media is there for operators, in each service that reads it."""

import re

import pytest
from pydantic_settings import BaseSettings

from tests.unit.deploy.manifests import OVERLAYS, ROOT, SECRETS, compose, compose_model, containers
from wa_api.settings import Settings as ApiSettings
from wa_session_host.settings import Settings as HostSettings

READ_BY: dict[str, type[BaseSettings]] = {"api": ApiSettings, "session-host": HostSettings}
SECTION = re.compile(r"## Media\n(.+?)\n## ", re.DOTALL)
FIXED = {"MEDIA_ROOT"}
"""A folder of the image; operators choose what is mounted there."""


def documented() -> list[str]:
    """The settings of the section about media."""
    found = SECTION.search((ROOT / "docs/settings.md").read_text())
    assert found
    return re.findall(r"^\| `(\w+)`", found[1], re.MULTILINE)


def read_by(service: str) -> set[str]:
    """Those that a service reads."""
    return {name for name in documented() if name.lower() in READ_BY[service].model_fields}


def test_the_section_has_every_setting_about_media() -> None:
    known = {name.upper() for kind in READ_BY.values() for name in kind.model_fields}
    media = {name for name in known if "MEDIA" in name and not name.startswith("WEBHOOK_")}
    assert media == set(documented())


@pytest.mark.parametrize("service", READ_BY)
def test_compose_passes_it(service: str) -> None:
    assert read_by(service) <= set(compose_model()["services"][service]["environment"])


@pytest.mark.parametrize("service", READ_BY)
def test_compose_takes_it_from_the_operator(service: str) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in read_by(service) - FIXED:
        assert f"${{{name}:" in text, name


@pytest.mark.parametrize("service", READ_BY)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_passes_it(overlay: str, service: str) -> None:
    [given] = [
        {variable["name"] for variable in container["env"]}
        for owner, _, container in containers(overlay)
        if owner.endswith(f"/wa-{service}") and container["name"] == service
    ]
    assert read_by(service) <= given


@pytest.mark.parametrize("service", READ_BY)
def test_an_empty_value_is_the_default(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = READ_BY[service](_env_file=None)
    for name in ("MEDIA_ROOT", "MEDIA_STORE_URL", "MEDIA_CA_FILE", "MEDIA_ALLOWED_HOSTS"):
        monkeypatch.setenv(name, "")
    given = READ_BY[service](_env_file=None)
    for name in read_by(service):
        assert getattr(given, name.lower()) == getattr(default, name.lower()), name


def test_a_certificate_authority_is_mounted_where_the_setting_says() -> None:
    shown = compose("config", environment={**SECRETS, "MEDIA_CA_FILE": "./ca.pem"})
    assert shown.returncode == 0, shown.stderr
    assert "MEDIA_CA_FILE: /etc/media-ca.pem" in shown.stdout
    assert re.search(r"source: \S+/ca\.pem\s+target: /etc/media-ca\.pem", shown.stdout)
    without = compose("config", environment=SECRETS)
    assert 'MEDIA_CA_FILE: ""' in without.stdout
