"""Linking by a code that the companion shows and a person types into the phone.

Both sides encrypt their ephemeral keys with the code, so only one who knows it can go on.
Source: the engine's `pair-code.go`.
"""

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.whatsapp.accounts import Account, Companion
from tests.whatsapp.nodes import SERVER_JID, Attributes, Node
from tests.whatsapp.pairing import Applicant, PairingDesk
from tests.whatsapp.primitives import KeyPair, apply_ctr, hkdf

_ROUNDS = 131_072
_BUNDLE_LABEL = b"link_code_pairing_key_bundle_encryption_key"
_FINISH_SECONDS = 20.0
_TAG = "link_code_companion_reg"


class PairingCodeInvalid(Exception):
    """No client waits for a code of this account, or it shows another one."""


@dataclass(eq=False)
class _Waiting:
    """A client that shows a code."""

    applicant: Applicant
    wrapped_ephemeral: bytes
    ref: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    finished: asyncio.Future[Node] | None = None


class LinkCodeDesk:
    """The clients that show a code, by the number that they want to be linked to."""

    def __init__(self, desk: PairingDesk) -> None:
        self._desk = desk
        self._waiting: dict[str, _Waiting] = {}

    def answer(self, applicant: Applicant, request: Node) -> list[Node]:
        """Serve the client's `link_code_companion_reg`, and return what to answer inside it."""
        registration = request.need(_TAG)
        number = registration.jid("jid").user
        match registration.text("stage"):
            case "companion_hello":
                wrapped = registration.need("link_code_pairing_wrapped_companion_ephemeral_pub")
                self._waiting[number] = _Waiting(applicant, wrapped.data)
                ref = Node("link_code_pairing_ref", content=self._waiting[number].ref)
                return [Node(_TAG, {"stage": "companion_hello"}, [ref])]
            case "companion_finish":
                waiting = self._waiting.get(number)
                if waiting and waiting.finished and not waiting.finished.done():
                    waiting.finished.set_result(registration)
        return []

    async def enter(self, account: Account, code: str) -> Companion:
        """Link the client that shows `code` for this account.

        Raises PairingCodeInvalid if there is none, PairingRefused if the client objects,
        TimeoutError if it does not answer for 20 s.
        """
        waiting = self._waiting.get(account.number)
        if waiting is None:
            raise PairingCodeInvalid("no client asked to be linked to this number")
        secret = code.replace("-", "").encode()
        companion_ephemeral = await asyncio.to_thread(_unwrap, secret, waiting.wrapped_ephemeral)
        ephemeral = KeyPair.generate()
        wrapped = await asyncio.to_thread(_wrap, secret, ephemeral.public)
        waiting.finished = asyncio.get_running_loop().create_future()
        await waiting.applicant.connection.send(_primary_hello(account, waiting.ref, wrapped))
        async with asyncio.timeout(_FINISH_SECONDS):
            finish = await waiting.finished
        shared = ephemeral.agree(companion_ephemeral)
        bundle = finish.need("link_code_pairing_wrapped_key_bundle").data
        identity, adv_random = _open_bundle(shared, bundle)
        if identity != waiting.applicant.identity:
            raise PairingCodeInvalid("the client sent another identity key than it logged in with")
        del self._waiting[account.number]
        secrets_of_both = shared + account.primary.identity.agree(identity) + adv_random
        adv_secret = hkdf(secrets_of_both, 32, info=b"adv_secret")
        return await self._desk.link(waiting.applicant, account, adv_secret)


def _primary_hello(account: Account, ref: bytes, wrapped_ephemeral: bytes) -> Node:
    content = [
        Node("link_code_pairing_wrapped_primary_ephemeral_pub", content=wrapped_ephemeral),
        Node("primary_identity_pub", content=account.primary.identity.public),
        Node("link_code_pairing_ref", content=ref),
    ]
    attrs: Attributes = {"from": SERVER_JID, "type": _TAG, "id": secrets.token_hex(8)}
    return Node("notification", attrs, [Node(_TAG, {"stage": "primary_hello"}, content)])


def _wrap(code: bytes, public: bytes) -> bytes:
    salt, iv = os.urandom(32), os.urandom(16)
    return salt + iv + apply_ctr(_code_key(code, salt), iv, public)


def _unwrap(code: bytes, wrapped: bytes) -> bytes:
    salt, iv, public = wrapped[:32], wrapped[32:48], wrapped[48:80]
    return apply_ctr(_code_key(code, salt), iv, public)


def _code_key(code: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", code, salt, _ROUNDS)


def _open_bundle(shared: bytes, bundle: bytes) -> tuple[bytes, bytes]:
    """Return the companion's identity key and its part of the adv secret."""
    salt, nonce, sealed = bundle[:32], bundle[32:44], bundle[44:]
    try:
        opened = AESGCM(hkdf(shared, 32, salt=salt, info=_BUNDLE_LABEL)).decrypt(
            nonce, sealed, None
        )
    except InvalidTag as error:
        raise PairingCodeInvalid("the client shows another code") from error
    return opened[:32], opened[64:]
