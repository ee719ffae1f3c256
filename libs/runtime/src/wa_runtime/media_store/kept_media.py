"""Incoming media in the media store: a file per message, and beside it what is known about it."""

from collections.abc import AsyncIterable, AsyncIterator
from uuid import UUID

from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.wire import UtcDatetime, Wire
from wa_runtime.media_store.store import MediaStore, NotStored


class KeptFile(Wire):
    """What is known about a message's media. With a `failure` there is no file."""

    mime_type: str
    file_name: str | None = None
    size: int = 0
    expires_at: UtcDatetime
    failure: ErrorDetail | None = None


class KeptMedia:
    """Media by session and message. All methods raise StoreUnavailable."""

    def __init__(self, store: MediaStore) -> None:
        self._store = store

    async def write(
        self, session_id: UUID, message_id: UUID, known: KeptFile, chunks: AsyncIterable[bytes]
    ) -> None:
        """Store a file, then what is known about it: both are there or none is found."""
        await self._store.write(_file(session_id, message_id), chunks)
        await self.describe(session_id, message_id, known)

    async def describe(self, session_id: UUID, message_id: UUID, known: KeptFile) -> None:
        """Store what is known about media, for example why it is not kept."""
        await self._store.write(_description(session_id, message_id), _once(known))

    async def find(self, session_id: UUID, message_id: UUID) -> KeptFile | None:
        """What is known about a message's media; None if nothing is."""
        try:
            chunks = [one async for one in self._store.read(_description(session_id, message_id))]
        except NotStored:
            return None
        return KeptFile.model_validate_json(b"".join(chunks))

    def read(self, session_id: UUID, message_id: UUID) -> AsyncIterator[bytes]:
        """The file. Raises NotStored too."""
        return self._store.read(_file(session_id, message_id))

    async def delete(self, session_id: UUID, message_id: UUID) -> None:
        """Delete the file and what is known about it. Without effect for an unknown one."""
        await self._store.delete(_description(session_id, message_id))
        await self._store.delete(_file(session_id, message_id))


def _file(session_id: UUID, message_id: UUID) -> str:
    return f"received/{session_id}/{message_id}"


def _description(session_id: UUID, message_id: UUID) -> str:
    return f"{_file(session_id, message_id)}.json"


async def _once(known: KeptFile) -> AsyncIterator[bytes]:
    yield known.model_dump_json().encode()
