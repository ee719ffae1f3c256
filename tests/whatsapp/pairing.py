"""Linking a companion device to an account: the QR way, and the end that both ways share.

Source: the engine's `pair.go` and `qrchan.go`.
"""

import base64
import binascii
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.whatsapp.accounts import Account, Companion
from tests.whatsapp.connection import Connection
from tests.whatsapp.nodes import SERVER_JID, Attributes, Node, now_text
from tests.whatsapp.primitives import hmac_sha256, verify
from tests.whatsapp.protobufs import (
    ADVDeviceIdentity,
    ADVSignedDeviceIdentity,
    ADVSignedDeviceIdentityHMAC,
    ClientPayload,
)
from tests.whatsapp.refusals import PASSKEY_OPTIONS
from tests.whatsapp.signal_protocol import PublicPrekey

_QR_PREFIX = "https://wa.me/settings/linked_devices#"
_REFS = 6
_FIRST_REF_SECONDS = 60.0
_LATER_REF_SECONDS = 20.0
_LATENESS_SECONDS = 3.0
"""How long a code may be scanned after it was replaced: the client's clock is not ours."""
_ACCOUNT_SIGNATURE = b"\x06\x00"
_DEVICE_SIGNATURE = b"\x06\x01"


class QRInvalid(Exception):
    """The code is none of WhatsApp's, or not shown by any client now."""


class PairingRefused(Exception):
    """The client did not accept the account's signature, or its own is wrong."""


@dataclass(eq=False)
class Applicant:
    """A connected client that belongs to no account yet, and asks for one."""

    connection: Connection
    identity: bytes
    registration_id: int
    signed_prekey: PublicPrekey
    refs: tuple[str, ...] = field(default_factory=lambda: tuple(_new_ref() for _ in range(_REFS)))
    _shown_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, connection: Connection, payload: ClientPayload) -> "Applicant":
        """Read what the client told in its handshake."""
        data = payload.devicePairingData
        prekey = PublicPrekey(int.from_bytes(data.eSkeyID), data.eSkeyVal, data.eSkeySig)
        return cls(connection, data.eIdent, int.from_bytes(data.eRegid), prekey)

    @property
    def life_seconds(self) -> float:
        """How long the client has codes to show."""
        return _FIRST_REF_SECONDS + _LATER_REF_SECONDS * (_REFS - 1)

    def shows(self, ref: str) -> bool:
        """Tell whether the client shows this code now, or did a moment ago."""
        if ref not in self.refs:
            return False
        index = self.refs.index(ref)
        until = _FIRST_REF_SECONDS + _LATER_REF_SECONDS * index
        since = 0 if index == 0 else until - _LATER_REF_SECONDS
        age = time.monotonic() - self._shown_at
        return since - _LATENESS_SECONDS <= age <= until + _LATENESS_SECONDS

    async def offer_refs(self) -> None:
        """Send the client the codes that it shall show one after the other."""
        refs = [Node("ref", content=ref.encode()) for ref in self.refs]
        attrs: Attributes = {"from": SERVER_JID, "type": "set", "xmlns": "md", "id": "pair-device"}
        await self.connection.send(Node("iq", attrs, [Node("pair-device", content=refs)]))


def _new_ref() -> str:
    return "2@" + base64.b64encode(os.urandom(48)).decode()


class PairingDesk:
    """The applicants who are waiting to be linked."""

    def __init__(self) -> None:
        self._applicants: set[Applicant] = set()

    @contextmanager
    def waiting(self, applicant: Applicant) -> Iterator[None]:
        """Let phones link this applicant until the exit."""
        self._applicants.add(applicant)
        try:
            yield
        finally:
            self._applicants.discard(applicant)

    async def scan(self, account: Account, qr_text: str) -> Companion:
        """Link the client that shows this code.

        Raises QRInvalid if none shows it now, PairingRefused if the client objects.
        """
        fields = qr_text.removeprefix(_QR_PREFIX).split(",")
        applicant = self._showing(qr_text)
        try:
            noise_key, identity, secret = (base64.b64decode(key) for key in fields[1:4])
        except (ValueError, binascii.Error) as error:
            raise QRInvalid("the code's keys cannot be read") from error
        if noise_key != applicant.connection.session.client_static:
            raise QRInvalid("the code shows another noise key than the client has")
        if identity != applicant.identity:
            raise QRInvalid("the code shows another identity than the client has")
        return await self.link(applicant, account, secret)

    async def demand_passkey(self, qr_text: str) -> None:
        """Answer the scan of this code with a demand for a passkey; codes go on rotating."""
        options = Node("passkey_request_options", content=PASSKEY_OPTIONS)
        attrs: Attributes = {
            "from": SERVER_JID,
            "type": "passkey_prologue_request",
            "id": secrets.token_hex(8),
            "t": now_text(),
        }
        applicant = self._showing(qr_text)
        await applicant.connection.send(Node("notification", attrs, [options]))

    async def downgrade(self, qr_text: str) -> None:
        """Answer the scan of this code by a phone without multi-device."""
        applicant = self._showing(qr_text)
        attrs: Attributes = {"from": SERVER_JID}
        await applicant.connection.send(Node("ib", attrs, [Node("downgrade_webclient")]))

    def _showing(self, qr_text: str) -> Applicant:
        ref = qr_text.removeprefix(_QR_PREFIX).split(",")[0]
        applicant = next((one for one in self._applicants if one.shows(ref)), None)
        if applicant is None:
            raise QRInvalid("no client shows this code now")
        return applicant

    async def link(self, applicant: Applicant, account: Account, adv_secret: bytes) -> Companion:
        """Make the applicant a companion of the account, and tell it to log in.

        Raises PairingRefused if the client objects.
        """
        device = account.next_device()
        identity = _certify(account, applicant.identity, device)
        answer = await applicant.connection.request(
            _pair_success(account, device, identity, adv_secret)
        )
        if answer.text("type") == "error":
            raise PairingRefused(answer.need("error").text("text"))
        _check_signature(answer, identity, applicant.identity)
        companion = Companion(
            device=device,
            noise_key=applicant.connection.session.client_static,
            identity=applicant.identity,
            registration_id=applicant.registration_id,
            signed_prekey=applicant.signed_prekey,
        )
        account.companions[device] = companion
        self._applicants.discard(applicant)
        await applicant.connection.end(Node("stream:error", {"code": "515"}))
        return companion


def _certify(account: Account, identity: bytes, device: int) -> ADVSignedDeviceIdentity:
    details = ADVDeviceIdentity(
        rawID=secrets.randbits(31), timestamp=int(time.time()), keyIndex=device
    ).SerializeToString()
    return ADVSignedDeviceIdentity(
        details=details,
        accountSignatureKey=account.primary.identity.public,
        accountSignature=account.primary.identity.sign(_ACCOUNT_SIGNATURE + details + identity),
    )


def _pair_success(
    account: Account, device: int, identity: ADVSignedDeviceIdentity, adv_secret: bytes
) -> Node:
    details = identity.SerializeToString()
    container = ADVSignedDeviceIdentityHMAC(
        details=details, HMAC=hmac_sha256(adv_secret, details)
    ).SerializeToString()
    phone_jid, lid_jid = account.device_jids(device)
    success = Node(
        "pair-success",
        content=[
            Node("device-identity", content=container),
            Node("platform", {"name": "android"}),
            Node("device", {"jid": phone_jid, "lid": lid_jid}),
        ],
    )
    attrs: Attributes = {"from": SERVER_JID, "type": "set", "xmlns": "md", "t": now_text()}
    return Node("iq", attrs, [success])


def _check_signature(answer: Node, identity: ADVSignedDeviceIdentity, client: bytes) -> None:
    signed = ADVSignedDeviceIdentity.FromString(
        answer.need("pair-device-sign", "device-identity").data
    )
    message = _DEVICE_SIGNATURE + identity.details + client + identity.accountSignatureKey
    if not verify(client, message, signed.deviceSignature):
        raise PairingRefused("the client's signature does not fit its identity key")
