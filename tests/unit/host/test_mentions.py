"""Parts that change the whole message: mentions of all, media that is shown once."""

from tests.whatsapp.protobufs import Message
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.content import Parts
from wa_session_host.engine.neonize.outgoing import parts
from wa_session_host.engine.port import OutgoingMessage

GROUP = "120363000000000001@g.us"


def test_members_are_mentioned_beside_those_that_were_named() -> None:
    wanted = Parts(mentions=("15550001111",), mention_all=True)
    message = OutgoingMessage(GROUP, MessageType.TEXT, "hello", None, wanted)
    built = parts.without_media(message.mentioning(("2@lid", "3@lid")), GROUP, "1@s.whatsapp.net")
    assert built.extendedTextMessage.text == "hello"
    mentioned = built.extendedTextMessage.contextInfo.mentionedJID
    assert list(mentioned) == ["15550001111@s.whatsapp.net", "2@lid", "3@lid"]


def test_media_that_is_shown_once_is_wrapped_whole() -> None:
    message = Message()
    message.imageMessage.caption = "look"
    built = parts.shown_once(message)
    image = built.viewOnceMessageV2.message.imageMessage
    assert (image.viewOnce, image.caption) == (True, "look")
