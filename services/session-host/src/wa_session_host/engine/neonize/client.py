"""The library's client: its events as protobufs, queued by callbacks."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from neonize.aioze.client import NewAClient
from neonize.proto import Neonize_pb2 as proto

from wa_session_host.domain.observations import Seen
from wa_session_host.engine.neonize.calls import observed_call
from wa_session_host.engine.neonize.incoming import observed_message, undecryptable
from wa_session_host.engine.neonize.translation import receipt_observations

# Event codes of the Go library (neonize.events.EVENT_TO_INT).
PAIR_STATUS, CONNECTED, KEEPALIVE_TIMEOUT, KEEPALIVE_RESTORED, LOGGED_OUT = 2, 3, 4, 5, 6
STREAM_REPLACED, TEMPORARY_BAN, CONNECT_FAILURE, CLIENT_OUTDATED = 7, 8, 9, 10
STREAM_ERROR, DISCONNECTED, MESSAGE, RECEIPT = 11, 12, 17, 18
CALL_OFFER, CALL_OFFER_NOTICE, CALL_TERMINATE, UNDECRYPTABLE = 36, 40, 42, 44
QR, LOGIN_STATUS = -1, -2

PARSERS = {
    PAIR_STATUS: proto.PairStatus,
    CONNECTED: proto.Connected,
    KEEPALIVE_TIMEOUT: proto.KeepAliveTimeout,
    KEEPALIVE_RESTORED: proto.KeepAliveRestored,
    LOGGED_OUT: proto.LoggedOut,
    STREAM_REPLACED: proto.StreamReplaced,
    TEMPORARY_BAN: proto.TemporaryBan,
    CONNECT_FAILURE: proto.ConnectFailure,
    CLIENT_OUTDATED: proto.ClientOutdated,
    STREAM_ERROR: proto.StreamError,
    DISCONNECTED: proto.Disconnected,
    MESSAGE: proto.Message,
    RECEIPT: proto.Receipt,
    CALL_OFFER: proto.CallOffer,
    CALL_OFFER_NOTICE: proto.CallOfferNotice,
    CALL_TERMINATE: proto.CallTerminate,
    UNDECRYPTABLE: proto.UndecryptableMessage,
}

READERS: Mapping[type, Callable[[Any], tuple[Seen, ...]]] = {
    proto.Message: observed_message,
    proto.UndecryptableMessage: undecryptable,
    proto.Receipt: receipt_observations,
    proto.CallOffer: observed_call,
    proto.CallOfferNotice: observed_call,
    proto.CallTerminate: observed_call,
}
"""What arrives from people, by the event."""


class Client(NewAClient):  # type: ignore[misc]
    """A client whose callbacks, on foreign threads, only queue their data."""

    def __init__(
        self, *args: object, on_event: Callable[[int, bytes], None], **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)
        self._on_event = on_event
        self.event.list_func = dict.fromkeys(PARSERS)
        self.event.execute = self._execute

    def _execute(self, _uuid: int, binary: int, size: int, code: int) -> None:
        self._on_event(code, ctypes.string_at(binary, size))

    def _NewAClient__onQr(self, _uuid: int, text: int) -> None:  # noqa: N802
        self._on_event(QR, ctypes.string_at(text))

    def _NewAClient__onLoginStatus(self, _uuid: int, status: int) -> None:  # noqa: N802
        self._on_event(LOGIN_STATUS, ctypes.string_at(status))
