"""Calls that ring. Source: whatsmeow, call.go."""

from typing import Any

from neonize.proto import Neonize_pb2 as proto

from wa_session_host.domain.observations import CallSeen, Seen
from wa_session_host.engine.neonize.translation import from_timestamp


def observed_call(event: Any) -> tuple[Seen, ...]:
    """The begin or the end of a call. A group's comes as a notice."""
    about = event.basicCallMeta
    caller = about.callCreator if about.callCreator.User else getattr(about, "from")
    addresses = {jid.Server: jid.User for jid in (about.callCreatorAlt, caller) if jid.User}
    lid = addresses.get("lid")
    is_notice = isinstance(event, proto.CallOfferNotice)
    seen = CallSeen(
        call_id=about.callID,
        caller=f"{caller.User}@{caller.Server}",
        caller_number=addresses.get("s.whatsapp.net"),
        caller_lid=f"{lid}@lid" if lid else None,
        has_ended=isinstance(event, proto.CallTerminate),
        reason=getattr(event, "reason", "") or None,
        is_video=event.media == "video" if is_notice else _is_video(event.data),
        is_group=is_notice and event.type == "group",
        at=from_timestamp(about.timestamp),
    )
    return (seen,)


def _is_video(node: proto.Node) -> bool:
    return any(child.Tag == "video" or _is_video(child) for child in node.Nodes)
