"""Consumes messages to this api process: replies, outcomes of its commands, heartbeats."""

import structlog

from wa_api.owners.host_clock import HostClock
from wa_api.owners.liveness import HostLiveness
from wa_api.owners.pending_replies import PendingReplies
from wa_contracts.codec import Undecodable, decode_event, decode_heartbeat, decode_reply
from wa_contracts.topology import EVENTS, HEARTBEATS, reply_key
from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.deliveries import Delivery, consume

log = structlog.get_logger()


class ReplyConsumer:
    """Feeds `PendingReplies`, `HostLiveness` and `HostClock` from two exclusive queues.

    Each connection declares new queues: the broker may keep old ones for a while. Messages between
    two connections are lost, so every wait reads the projection after a reconnect.
    """

    def __init__(
        self, instance: str, pending: PendingReplies, liveness: HostLiveness, clock: HostClock
    ) -> None:
        self.reply_to = reply_key(instance)
        self._clock = clock
        self._pending = pending
        self._liveness = liveness

    async def open(self, writer: ChannelWriter) -> None:
        """Declare and consume the two queues."""
        replies = await writer.channel.declare_queue("", exclusive=True, auto_delete=True)
        await replies.bind(EVENTS, self.reply_to)
        await consume(writer, replies.name, self._on_reply, no_ack=True)
        heartbeats = await writer.channel.declare_queue("", exclusive=True, auto_delete=True)
        await heartbeats.bind(HEARTBEATS)
        await consume(writer, heartbeats.name, self._on_heartbeat, no_ack=True)
        self._pending.interrupt_to_reread()

    def _on_reply(self, message: Delivery) -> None:
        try:
            if message.type == "reply":
                self._pending.deliver_reply(decode_reply(message.body))
            else:
                self._pending.deliver_event(decode_event(message.body))
        except Undecodable as error:
            log.warning("reply_undecodable", type=message.type, reason=str(error))

    def _on_heartbeat(self, message: Delivery) -> None:
        try:
            heartbeat = decode_heartbeat(message.body)
        except Undecodable as error:
            log.warning("heartbeat_undecodable", reason=str(error))
            return
        self._liveness.record(heartbeat)
        self._clock.set(heartbeat.sent_at)
