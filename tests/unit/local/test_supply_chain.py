"""What `make check` says about the packages that the images carry."""

import json

import pytest

from deploy.supply_chain import engine_release, licences, locks, vulnerabilities
from deploy.supply_chain.vulnerabilities import Audit, read, verdict


def test_every_package_of_the_images_is_looked_at() -> None:
    names = locks.packages()
    assert {"fastapi", "neonize", "asyncpg", "pillow", "cryptography"} <= set(names)
    assert not {"pytest", "pip-audit", "ruff"} & set(names)
    found = {name.lower().replace("_", "-") for name, _, _ in licences.report(names)}
    # What is for other platforms is not installed here.
    assert {"fastapi", "neonize", "asyncpg", "pillow", "cryptography"} <= found


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("Apache Software License; MIT License", True),
        ("GNU General Public License v3 (GPLv3)", False),
        ("MIT AND GPL-3.0-only", False),
        ("UNKNOWN", False),
    ],
)
def test_a_licence_is_allowed_only_whole(licence: str, *, allowed: bool) -> None:
    assert licences.is_allowed(licence) is allowed


HOLED = {
    "dependencies": [
        {"name": "good", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]},
        {"name": "strange", "skip_reason": "Dependency not found"},
    ]
}


def test_a_known_hole_fails_and_says_what_to_do() -> None:
    audit = read(json.dumps(HOLED))
    assert audit == Audit(audited=2, skipped=1, holes=("bad 2: CVE-1, mended in 3",))
    status, said = verdict(audit)
    assert status == 1
    assert said[0] == "bad 2: CVE-1, mended in 3: raise it by `make lock`"
    assert said[1] == "1 packages could not be looked up for known holes."


def test_what_could_not_be_asked_passes_with_one_sentence() -> None:
    status, said = verdict(Audit(audited=0, skipped=60, holes=()))
    assert status == 0
    assert said == [
        vulnerabilities.NOT_MADE.format(reason="the package index tells nothing about them")
    ]
    assert verdict(Audit(audited=60, skipped=0, holes=())) == (0, [])


@pytest.mark.parametrize("answer", ["", "Traceback", "{}", "[]"])
def test_no_answer_is_no_clean_bill(answer: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read(answer)


@pytest.mark.parametrize(
    ("resolved", "warned"),
    [
        ("neonize==0.5.10\n", True),
        ("neonize==0.5.2\n", False),
        ("neonize==0.4.9\n", False),
        ("", False),  # no index answers
    ],
)
def test_a_newer_engine_is_a_warning(resolved: str, *, warned: bool) -> None:
    said = engine_release.warning("asyncpg==1\nneonize==0.5.2 \\\n    --hash=x\n", resolved)
    assert (said is not None) is warned
    assert said is None or said.startswith("neonize 0.5.10 is available, 0.5.2 is in use")


def test_the_engines_release_is_looked_up_and_never_a_fault() -> None:
    assert engine_release.main() == 0
