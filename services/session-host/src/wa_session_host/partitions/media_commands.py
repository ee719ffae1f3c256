"""Commands about incoming media."""

import structlog

from wa_contracts.ids import message_stream
from wa_contracts.internal.commands import FetchMedia
from wa_contracts.internal.refusals import SESSION_NOT_FOUND
from wa_contracts.internal.replies import ErrorDetail
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.port import DownloadFailed
from wa_session_host.partitions.partition import Partition
from wa_session_host.publishing.outbox import NotConfirmed

log = structlog.get_logger()

NO_MEDIA = ErrorDetail(
    code="media_not_found", message="This message has no media: only incoming media is kept."
)
NO_ROOM = ErrorDetail(
    code="media_unavailable", message="The session-host cannot store the media: see its log."
)


class MediaCommands:
    """Transfers incoming media of one partition's sessions to the api."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._context = partition.context
        self._session = partition.context.session

    async def handle_fetch(self, command: FetchMedia) -> None:
        """Reply with the media's offer and transfer the media, or reply with an error."""
        owner = self._partition.owner(command.session_id)
        media = await self._media_of(command)
        if owner is None or media is None:
            reason = SESSION_NOT_FOUND if owner is None else NO_MEDIA
            await self._context.outbox.reply(command, error=reason)
            return
        delivery = self._context.media_transfer
        try:
            downloaded = delivery.downloaded(command.session_id, media, owner.calls.download)
            async with downloaded as (offer, path):
                await self._context.outbox.reply(command, media=offer)
                await delivery.send(path, command.queue)
        except DownloadFailed as error:
            failed = ErrorDetail(code=error.code, message=str(error))
            await self._context.outbox.reply(command, error=failed)
        except OSError as error:
            log.warning("media_not_stored", error=repr(error))
            await self._context.outbox.reply(command, error=NO_ROOM)
        except NotConfirmed as error:
            log.info("media_not_taken", session_id=str(command.session_id), reason=str(error))

    async def _media_of(self, command: FetchMedia) -> ReceivedMedia | None:
        events = await self._session.store.stream(message_stream(command.message_id))
        if not events or events[0].session_id != command.session_id:
            return None
        return next((media for one in events if (media := one.media) is not None), None)
