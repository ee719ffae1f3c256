"""What a phone sends: its messages, again those that a companion could not decrypt, and receipts."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.whatsapp.bundles import bundle_nodes
from tests.whatsapp.nodes import Attributes, Node, now_text

if TYPE_CHECKING:
    from tests.whatsapp.accounts import Account, Companion

_MOST_ATTEMPTS = 5
RETRY = "retry"
"""The kind of receipt that says: this could not be decrypted, send it again."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before encryption; `mediatype` is empty for a text, `group` the group's JID.

    `own_copy_for`: the account's own devices get a copy of what was written to that account.
    """

    plaintext: bytes
    mediatype: str = ""
    group: str | None = None
    own_copy_for: "Account | None" = None
    garbled: bool = False
    """Whether the recipient cannot decrypt it until it asks for it again."""
    id: str = field(default_factory=lambda: secrets.token_hex(16).upper())


class Outbox:
    """One phone's outgoing post. It remembers every message, to send it again when asked."""

    def __init__(self, account: "Account") -> None:
        self._account = account
        self._sent: dict[str, Draft] = {}
        self.sends_again = True
        self.wrote_to: set[str] = set()
        """Numbers of the people that got something."""

    async def send(self, recipient: "Account", draft: Draft) -> None:
        """Encrypt a message for each companion of the recipient, and hand it over."""
        self._sent[draft.id] = draft
        self.wrote_to.add(recipient.number)
        for companion in list(recipient.companions.values()):
            address = _address(recipient, companion)
            if not self._account.primary.has_session(address):
                self._account.primary.open_session(address, companion.bundle())
            stanza = self._sealed(draft, address)
            await companion.deliver(_garbled(stanza) if draft.garbled else stanza)

    async def send_again(
        self, recipient: "Account", companion: "Companion", message_id: str
    ) -> None:
        """Encrypt a message anew, in a new session, for a companion that could not read it."""
        draft = self._sent.get(message_id)
        if draft is not None and self.sends_again:
            address = _address(recipient, companion)
            self._account.primary.open_session(address, companion.bundle())
            await companion.deliver(self._sealed(draft, address))

    async def confirm(self, companion: "Companion", message_id: str, kind: str | None) -> None:
        """Send a receipt: delivered if `kind` is None, `read`, and so on."""
        await companion.deliver(self._account.stanza("receipt", message_id, kind))

    async def ask_again(self, companion: "Companion", message_id: str, attempt: int) -> None:
        """Say that a message could not be decrypted, and send new keys along.

        The fifth attempt is the last one; later ones do nothing.
        """
        if attempt > _MOST_ATTEMPTS:
            return
        bundle = self._account.primary.bundle()
        retry = {"count": str(attempt), "id": message_id, "t": now_text(), "v": "1"}
        content = [
            Node("retry", retry),
            Node("registration", content=bundle.registration_id.to_bytes(4)),
            Node("keys", content=bundle_nodes(bundle)),
        ]
        await companion.deliver(self._account.stanza("receipt", message_id, RETRY, content))

    def _sealed(self, draft: Draft, address: str) -> Node:
        sealed = self._account.primary.encrypt(address, draft.plaintext)
        attrs: Mapping[str, str] = {"v": "2", "type": sealed.type}
        if draft.mediatype:
            attrs = {**attrs, "mediatype": draft.mediatype}
        enc = Node("enc", attrs, sealed.data)
        stanza = self._account.stanza(
            "message", draft.id, "media" if draft.mediatype else "text", [enc], group=draft.group
        )
        if draft.own_copy_for is None:
            return stanza
        copied: Attributes = {**stanza.attrs, "recipient": draft.own_copy_for.lid_jid}
        return replace(stanza, attrs=copied)


def _garbled(stanza: Node) -> Node:
    """What was encrypted, with its last bytes changed."""
    [enc] = stanza.children
    return replace(stanza, content=[replace(enc, content=enc.data[:-8] + secrets.token_bytes(8))])


def _address(account: "Account", companion: "Companion") -> str:
    return str(account.device_jids(companion.device)[1])
