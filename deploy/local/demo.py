"""Three sessions for a demonstration, on the simulated engine."""

from collections.abc import Mapping

import httpx

from deploy.local.configuration import DATABASE_NAMES
from deploy.local.services import Keys

# The simulated engine scans each QR code after SIMULATED_LINKS_AFTER seconds.
_NAMES = ("Sales", "Support", "Warehouse")


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Fixed settings of a demo. It never uses the servers and data in `.env`."""
    return {
        "ENGINE": "simulated",
        "DATA_DIR": environment.get("DATA_DIR") or ".demo",
        "AMQP_URL": "",
        **dict.fromkeys(DATABASE_NAMES, ""),
    }


async def create_sessions(address: str, keys: Keys) -> None:
    """Create the missing sessions and print their tokens masked."""
    headers = {"Authorization": f"Bearer {keys.admin}"}
    async with httpx.AsyncClient(
        base_url=address, headers=headers, timeout=10, trust_env=False
    ) as api:
        listed = await api.get("/api/sessions")
        listed.raise_for_status()
        there = {session["name"] for session in listed.json()["items"]}
        for name in _NAMES:
            if name in there:
                print(f"  {name:<20} from the last demo")
                continue
            created = await api.post("/api/sessions", json={"name": name})
            created.raise_for_status()
            session = created.json()
            print(f"  {name:<20} {session['sessionId']}  token {_masked(session['token'])}")
    print("Reveal or copy the tokens on the dashboard.", flush=True)


def _masked(token: str) -> str:
    return f"{token[:4]}…{token[-4:]}" if len(token) > 12 else "…"
