"""The compose file, as compose itself reads it."""

import re
from urllib.parse import urlsplit

import pytest

from tests.unit.deploy.manifests import ROOT, SECRETS, compose, compose_model
from wa_api.settings import Settings as ApiSettings
from wa_session_host.partitions.supervisor import DRAIN_SECONDS
from wa_session_host.settings import Settings as HostSettings

OURS = {
    *("migrate-api", "migrate-session-host", "set-up-broker"),
    *("api", "projector", "webhooks", "session-host"),
}
SERVICES = compose_model()["services"]

every_service = pytest.mark.parametrize("name", SERVICES)


def test_without_a_secret_it_says_which_and_what_to_do() -> None:
    for missing in SECRETS:
        rest = {name: value for name, value in SECRETS.items() if name != missing}
        refused = compose("config", "--quiet", environment=rest)
        assert refused.returncode != 0
        assert f"required variable {missing} is missing a value" in refused.stderr
        assert "run deploy/compose/new-secrets.sh once" in refused.stderr


def test_the_script_makes_every_secret_that_is_asked_for() -> None:
    script = (ROOT / "deploy/compose/new-secrets.sh").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert asked == set(SECRETS)
    assert all(re.search(rf"\b{name}\b", script) for name in asked)


@every_service
def test_images_are_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", SERVICES[name]["image"])


@every_service
def test_services_have_limits_and_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service)
    assert (
        all(mount.get("source") != "/var/run/docker.sock" for mount in service["volumes"])
        if (service.get("volumes"))
        else True
    )
    # Ours say in the image who they are.
    assert name in OURS or re.fullmatch(r"[1-9]\d*:\d+", service["user"])


@every_service
def test_ports_are_published_on_loopback(name: str) -> None:
    assert {port["host_ip"] for port in SERVICES[name].get("ports", ())} <= {"127.0.0.1"}


def test_session_hosts_can_be_many() -> None:
    host = SERVICES["session-host"]
    assert not {"ports", "container_name", "hostname"} & set(host)


def test_a_host_may_drain() -> None:
    grace = SERVICES["session-host"]["stop_grace_period"]
    assert grace == "2m0s"
    assert DRAIN_SECONDS + 30 <= 120


def test_the_start_is_in_order() -> None:
    order = {
        name: {on: how["condition"] for on, how in SERVICES[name]["depends_on"].items()}
        for name in OURS
    }
    healthy, completed = "service_healthy", "service_completed_successfully"
    assert order == {
        "migrate-api": {"postgres": healthy},
        "migrate-session-host": {"postgres": healthy},
        "set-up-broker": {"rabbitmq": healthy},
        "api": {"migrate-api": completed, "set-up-broker": completed},
        "projector": {"migrate-api": completed, "set-up-broker": completed},
        "webhooks": {"migrate-api": completed},
        "session-host": {
            "migrate-session-host": completed,
            "set-up-broker": completed,
            "device-pool": healthy,
        },
    }


def test_the_database_is_on_a_network_without_a_way_out() -> None:
    assert set(SERVICES["postgres"]["networks"]) == {"database"}
    assert compose_model()["networks"]["database"]["internal"] is True


def test_the_device_store_is_behind_a_pool_in_transaction_mode() -> None:
    url = urlsplit(SERVICES["session-host"]["environment"]["DEVICE_STORE_URL"])
    assert (url.hostname, url.query) == ("device-pool", "sslmode=disable&binary_parameters=yes")
    pool = SERVICES["device-pool"]["environment"]
    assert pool["POOL_MODE"] == "transaction"
    assert (pool["DB_USER"], pool["DB_PASSWORD"]) == (url.username, url.password)
    assert SERVICES["device-pool"]["networks"].keys() == {"database"}


def test_every_setting_is_one_that_the_service_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        known = HostSettings if "session-host" in name else ApiSettings
        given = SERVICES[name]["environment"]
        # The media store's library reads AWS_… itself.
        environment = {key: value for key, value in given.items() if not key.startswith("AWS_")}
        assert {key.lower() for key in environment} <= set(known.model_fields), name
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        known(_env_file=None)


def test_the_simulated_engine_is_one_variable() -> None:
    shown = compose("config", environment={**SECRETS, "ENGINE": "simulated"})
    assert "ENGINE: simulated" in shown.stdout
