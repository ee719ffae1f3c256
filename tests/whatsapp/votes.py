"""Votes on polls, encrypted as phones do.

Source: the engine's `msgsecret.go`.
"""

import os
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.whatsapp.protobufs import Message, PollVoteMessage


def vote(
    poll_id: str, secret: bytes, *, author: str, voter: str, options: tuple[str, ...], own: bool
) -> Message:
    """A vote for these options. `own`: the voter made the poll. JIDs are without device."""
    use = poll_id + author + voter + "Poll Vote"
    key = HKDF(SHA256(), 32, salt=None, info=use.encode()).derive(secret)
    chosen = PollVoteMessage(selectedOptions=[sha256(one.encode()).digest() for one in options])
    iv = os.urandom(12)
    message = Message()
    update = message.pollUpdateMessage
    update.pollCreationMessageKey.remoteJID = author if not own else voter
    update.pollCreationMessageKey.fromMe = own
    update.pollCreationMessageKey.ID = poll_id
    update.vote.encPayload = AESGCM(key).encrypt(
        iv, chosen.SerializeToString(), f"{poll_id}\0{voter}".encode()
    )
    update.vote.encIV = iv
    return message
