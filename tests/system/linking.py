"""Sessions on the real engine: linked as an operator does it, and their worker processes."""

from typing import Any

from tests.deadlines import eventually
from tests.system.ring import Ring
from tests.whatsapp import Phone


async def link(ring: Ring, phone: Phone, name: str = "test") -> dict[str, Any]:
    """Create a session over REST and scan the QR that REST shows, as an operator does."""
    await eventually(lambda: _has_host(ring), what="a host has taken sessions up")
    session = await ring.create_session(name)

    async def scanned() -> bool:
        answer = await ring.admin.get(
            f"/api/sessions/{session['sessionId']}/qr", headers={"Accept": "application/json"}
        )
        assert answer.status_code == 200, answer.text
        await phone.scan(answer.json()["qr"])
        return True

    await eventually(scanned, what="a QR code to scan")
    await ring.wait_for_status(session["sessionId"], "working")
    return session


async def _has_host(ring: Ring) -> bool:
    answer = await ring.client(None).get("/readyz")
    return bool(answer.json()["liveHosts"])


def worker_of(ring: Ring, session_id: str) -> int:
    """The process id of a session's worker, from the log of the host that started it last."""
    hosts = [name for name in ring.processes if name.startswith("host-")]
    lines = [line for name in hosts for line in ring.log(name).splitlines()]
    mine = [line for line in lines if "worker_started" in line and session_id in line]
    return int(max(mine).split("pid=")[1].split()[0])
