"""The Dockerfiles by their text, and what of the images runs without an engine."""

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.unit.deploy.manifests import ROOT

SERVICES = {"api": "wa_api", "session-host": "wa_session_host"}

every_image = pytest.mark.parametrize("service", SERVICES)


def _instructions(service: str) -> list[str]:
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").split("\n")


@every_image
def test_the_base_is_pinned_and_of_glibc(service: str) -> None:
    instructions = _instructions(service)
    assert instructions[0] == "ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm"
    bases = [line for line in instructions if line.startswith("FROM")]
    assert bases == ["FROM ${PYTHON_IMAGE} AS build", "FROM ${PYTHON_IMAGE}"]


@every_image
def test_only_locked_wheels_come_in(service: str) -> None:
    text = "\n".join(_instructions(service))
    for install in re.findall(r"pip[^&\n]* install [^&\n]*", text):
        locked = "--require-hashes --only-binary :all:" in install
        assert locked or "--no-deps --no-index" in install, install


@every_image
def test_it_runs_as_nobody_in_particular(service: str) -> None:
    final = _instructions(service)
    final = final[final.index("FROM ${PYTHON_IMAGE}") :]
    user = final.index("USER 10001:10001")
    assert not any(line.startswith("RUN") for line in final[user:])
    assert "STOPSIGNAL SIGTERM" in final
    assert any(line.startswith("HEALTHCHECK") for line in final)
    module = SERVICES[service]
    assert f'ENTRYPOINT ["dumb-init", "--single-child", "--", "python", "-m", "{module}"]' in final


@every_image
def test_it_listens_beyond_its_own_loopback(service: str) -> None:
    setting = {"api": "HOST", "session-host": "HEALTH_HOST"}[service]
    assert re.search(rf"\b{setting}=0\.0\.0\.0\b", "\n".join(_instructions(service)))


def test_the_build_context_is_a_list_of_what_is_needed() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = {
        path.split("/")[0]
        for service in SERVICES
        for line in _instructions(service)
        if line.startswith("COPY") and "--from" not in line
        for path in line.split()[1:-1]
    }
    assert copied == {rule[1:].split("/")[0] for rule in rules if rule.startswith("!")}


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering_port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _alive(port: int, path: str) -> int:
    return subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "deploy/images/alive.py", "PORT", path],
        env={"PORT": str(port)},
        capture_output=True,
        check=False,
    ).returncode


def test_the_health_check_tells_an_answer_from_none(answering_port: int) -> None:
    assert _alive(answering_port, "/livez") == 0
    assert _alive(answering_port, "/other") == 1
    assert _alive(1, "/livez") == 1
