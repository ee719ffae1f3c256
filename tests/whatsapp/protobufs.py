"""WhatsApp's protobuf classes, taken from neonize without its Go library.

The server side needs the message definitions only, and the engine must stay out of the test
process. `SPHINX=1` imports neonize's Python part alone; neonize's change to the root logger, made
on import, is undone here. The classes are untyped for mypy, hence `Any`.
"""

import importlib
import logging
import os
import sys
from typing import Any

from wa_session_host.engine.content_type import bring_libmagic


def _import_without_engine(*names: str) -> list[Any]:
    bring_libmagic()  # neonize imports python-magic, which keeps the library that it finds first
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    already_imported = "neonize" in sys.modules
    before = os.environ.get("SPHINX")
    if not already_imported:
        os.environ["SPHINX"] = "1"
    try:
        return [importlib.import_module(f"neonize.proto.{name}") for name in names]
    finally:
        if before is None:
            os.environ.pop("SPHINX", None)
        root.handlers[:] = handlers
        root.setLevel(level)


_adv, _cert, _e2e, _wa6, _history = _import_without_engine(
    "waAdv.WAAdv_pb2",
    "waCert.WACert_pb2",
    "waE2E.WAWebProtobufsE2E_pb2",
    "waWa6.WAWebProtobufsWa6_pb2",
    "waHistorySync.WAWebProtobufsHistorySync_pb2",
)

ADVDeviceIdentity: Any = _adv.ADVDeviceIdentity
ADVSignedDeviceIdentity: Any = _adv.ADVSignedDeviceIdentity
ADVSignedDeviceIdentityHMAC: Any = _adv.ADVSignedDeviceIdentityHMAC
CertChain: Any = _cert.CertChain
AppVersion: Any = _wa6.ClientPayload.UserAgent.AppVersion
ClientPayload: Any = _wa6.ClientPayload
HistorySync: Any = _history.HistorySync
HandshakeMessage: Any = _wa6.HandshakeMessage
Message: Any = _e2e.Message
PollVoteMessage: Any = _e2e.PollVoteMessage
