"""Votes on polls: the engine decrypts them with the poll's secret in the device store."""

import asyncio
import ctypes
from dataclasses import replace

from neonize import _binder
from neonize.proto.Neonize_pb2 import ReturnFunctionWithError

from wa_session_host.domain.observations import ChangeSeen


async def with_vote(seen: ChangeSeen, client_uuid: bytes, event: bytes) -> ChangeSeen:
    """The vote with the hashes of what was chosen, as it was if it cannot be decrypted.

    `event` is the serialized message of the vote. neonize's own `decrypt_poll_vote` fails: it
    takes the library's structure for bytes.
    """
    answer = await asyncio.to_thread(_decrypted, client_uuid, event)
    if answer.Error:
        return seen
    hashes = tuple(one.hex() for one in answer.PollVoteMessage.selectedOptions)
    return replace(seen, chosen=hashes)


def _decrypted(client_uuid: bytes, event: bytes) -> ReturnFunctionWithError:
    found = _binder.gocode.DecryptPollVote(client_uuid, event, len(event))
    try:
        return ReturnFunctionWithError.FromString(
            ctypes.string_at(found.contents.ptr, found.contents.size)
        )
    finally:
        _binder.gocode.FreeBytesStruct(found)
