"""A device that speaks the Signal protocol: prekeys, X3DH, and a session for each peer device.

Source: https://signal.org/docs/specifications/x3dh, and WhatsApp's padding of the plaintext: 1 to
15 bytes, each of them telling how many.
"""

import itertools
import os
import secrets
from dataclasses import dataclass
from typing import Literal

from tests.whatsapp.primitives import KeyPair, verify
from tests.whatsapp.signal_session import Session
from tests.whatsapp.signal_wire import BadSignalMessage, PrekeySignalMessage, typed

MessageType = Literal["pkmsg", "msg"]


@dataclass(frozen=True, slots=True)
class PublicPrekey:
    """A prekey as others see it; `signature` is there if it is a signed one."""

    id: int
    public: bytes
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class PrekeyBundle:
    """What a sender needs to open a session with a device."""

    registration_id: int
    identity: bytes
    signed: PublicPrekey
    one_time: PublicPrekey | None

    def is_signed(self) -> bool:
        """Tell whether the owner of `identity` signed the signed prekey."""
        return verify(self.identity, typed(self.signed.public), self.signed.signature)


@dataclass(frozen=True, slots=True)
class Encrypted:
    """One message for one device, with its type as `<enc>` names it."""

    type: MessageType
    data: bytes


@dataclass(frozen=True, slots=True)
class _Opening:
    """Sent along with every message until the peer has answered."""

    prekey_id: int | None
    signed_prekey_id: int
    base_key: bytes


class SignalDevice:
    """A device whose private keys are here: a phone or a contact that tests drive."""

    def __init__(self) -> None:
        self.identity = KeyPair.generate()
        self.registration_id = secrets.randbelow(16_380) + 1
        self._signed = KeyPair.generate()
        self._one_time: dict[int, KeyPair] = {}
        self._next_prekey_id = itertools.count(1)
        self._sessions: dict[str, list[Session]] = {}
        self._openings: dict[str, _Opening] = {}

    def bundle(self) -> PrekeyBundle:
        """Hand out a bundle with a one-time prekey that nobody else gets."""
        prekey_id = next(self._next_prekey_id)
        self._one_time[prekey_id] = KeyPair.generate()
        signature = self.identity.sign(typed(self._signed.public))
        return PrekeyBundle(
            registration_id=self.registration_id,
            identity=self.identity.public,
            signed=PublicPrekey(1, self._signed.public, signature),
            one_time=PublicPrekey(prekey_id, self._one_time[prekey_id].public),
        )

    def has_session(self, peer: str) -> bool:
        """Tell whether a message to `peer` needs no bundle."""
        return bool(self._sessions.get(peer))

    def forget_sessions(self) -> None:
        """Lose every session; peers do not know, and go on in theirs."""
        self._sessions.clear()
        self._openings.clear()

    def open_session(self, peer: str, bundle: PrekeyBundle) -> None:
        """Begin a session with `peer`; raises BadSignalMessage if its prekey is not signed."""
        if not bundle.is_signed():
            raise BadSignalMessage(f"the signed prekey of {peer} is not signed by it")
        base = KeyPair.generate()
        agreed = (
            self.identity.agree(bundle.signed.public)
            + base.agree(bundle.identity)
            + base.agree(bundle.signed.public)
        )
        if bundle.one_time is not None:
            agreed += base.agree(bundle.one_time.public)
        session = Session.initiated(
            self.identity.public, bundle.identity, base.public, agreed, bundle.signed.public
        )
        self._sessions.setdefault(peer, []).insert(0, session)
        prekey_id = bundle.one_time.id if bundle.one_time else None
        self._openings[peer] = _Opening(prekey_id, bundle.signed.id, base.public)

    def encrypt(self, peer: str, plaintext: bytes) -> Encrypted:
        """Pad and encrypt for `peer`, whose session must be open."""
        length = os.urandom(1)[0] % 15 + 1
        data = self._sessions[peer][0].encrypt(plaintext + bytes([length]) * length)
        opening = self._openings.get(peer)
        if opening is None:
            return Encrypted("msg", data)
        first = PrekeySignalMessage(
            registration_id=self.registration_id,
            prekey_id=opening.prekey_id,
            signed_prekey_id=opening.signed_prekey_id,
            base_key=opening.base_key,
            identity=self.identity.public,
            message=data,
        )
        return Encrypted("pkmsg", first.serialize())

    def decrypt(self, peer: str, kind: str, data: bytes) -> bytes:
        """Decrypt and unpad a message from `peer`; raises BadSignalMessage if it cannot be."""
        padded = self._accept(peer, data) if kind == "pkmsg" else self._read(peer, data)
        return padded[: -padded[-1]]

    def _accept(self, peer: str, data: bytes) -> bytes:
        first = PrekeySignalMessage.parse(data)
        sessions = self._sessions.setdefault(peer, [])
        if not any(session.base_key == first.base_key for session in sessions):
            sessions.insert(0, self._accepted(first))
        return self._read(peer, first.message)

    def _accepted(self, first: PrekeySignalMessage) -> Session:
        agreed = (
            self._signed.agree(first.identity)
            + self.identity.agree(first.base_key)
            + self._signed.agree(first.base_key)
        )
        if first.prekey_id is not None:
            one_time = self._one_time.pop(first.prekey_id, None)
            if one_time is None:
                raise BadSignalMessage(f"prekey {first.prekey_id} is unknown or used")
            agreed += one_time.agree(first.base_key)
        return Session.accepted(
            self.identity.public, first.identity, first.base_key, agreed, self._signed
        )

    def _read(self, peer: str, data: bytes) -> bytes:
        """Try each session; the one that fits becomes the one to answer in."""
        sessions = self._sessions.get(peer, [])
        reasons: list[str] = []
        for session in sessions:
            try:
                plaintext = session.decrypt(data)
            except BadSignalMessage as error:
                reasons.append(str(error))
                continue
            sessions.remove(session)
            sessions.insert(0, session)
            self._openings.pop(peer, None)
            return plaintext
        raise BadSignalMessage(f"none of {len(sessions)} sessions with {peer} fits: {reasons}")
