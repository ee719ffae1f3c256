"""Protobufs of messages that are no file: places, contacts, polls, reactions, replies, mentions.

neonize's own builders fetch addresses, or write other keys than phones expect.
"""

import secrets
from base64 import b64decode

from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    ContactMessage,
    ContactsArrayMessage,
    ContextInfo,
    ExtendedTextMessage,
    FutureProofMessage,
    LocationMessage,
    Message,
    MessageContextInfo,
    PollCreationMessage,
    ReactionMessage,
)

from wa_contracts.content import Contact, Location, Poll
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.content import Parts, Quote, Reaction
from wa_session_host.engine.neonize.outgoing import changes
from wa_session_host.engine.port import LinkPreview, OutgoingMessage

POLL_SECRET_BYTES = 32


def without_media(message: OutgoingMessage, chat: str, own: str) -> Message:
    """The protobuf of a message that is no file.

    `chat` is the JID that the message goes to, `own` the JID of the session's number.
    """
    parts = message.parts or Parts()
    match message.type:
        case MessageType.LOCATION if parts.location is not None:
            built = _location(parts.location)
        case MessageType.CONTACT:
            built = _contacts(parts.contacts)
        case MessageType.POLL if parts.poll is not None:
            built = _poll(parts.poll)
        case MessageType.REACTION if parts.reaction is not None:
            return _reaction(parts.reaction, chat)
        case MessageType.EDIT if parts.change is not None:
            return changes.edit(parts.change, message.text or "", chat)
        case MessageType.REVOKE if parts.change is not None:
            return changes.revoke(parts.change, chat)
        case _:
            built = _text(message.text or "", parts, message.link)
    add_context(built, parts, own)
    return built


def _text(text: str, parts: Parts, link: LinkPreview | None) -> Message:
    """Only an extended text has room for a quote, mentions and a link's preview."""
    if link is not None:
        shown = ExtendedTextMessage(
            text=text,
            matchedText=link.link,
            title=link.title,
            description=link.description,
            previewType=ExtendedTextMessage.NONE,
        )
        if link.thumbnail is not None:
            shown.JPEGThumbnail = b64decode(link.thumbnail)
        return Message(extendedTextMessage=shown)
    if parts.quote is None and not parts.mentions:
        return Message(conversation=text)
    return Message(extendedTextMessage=ExtendedTextMessage(text=text))


def _location(place: Location) -> Message:
    return Message(
        locationMessage=LocationMessage(
            degreesLatitude=place.latitude,
            degreesLongitude=place.longitude,
            name=place.name,
            address=place.address,
        )
    )


def _contacts(contacts: tuple[Contact, ...]) -> Message:
    cards = [ContactMessage(displayName=one.name, vcard=one.vcard) for one in contacts]
    if len(cards) == 1:
        return Message(contactMessage=cards[0])
    title = f"{len(cards)} contacts"
    return Message(contactsArrayMessage=ContactsArrayMessage(displayName=title, contacts=cards))


def _poll(poll: Poll) -> Message:
    """The secret encrypts the votes. WhatsApp counts 0 selectable options as any number."""
    number = 0 if poll.selectable == len(poll.options) > 1 else poll.selectable
    options = [PollCreationMessage.Option(optionName=one) for one in poll.options]
    return Message(
        pollCreationMessage=PollCreationMessage(
            name=poll.question, options=options, selectableOptionsCount=number
        ),
        messageContextInfo=MessageContextInfo(messageSecret=secrets.token_bytes(POLL_SECRET_BYTES)),
    )


def _reaction(reaction: Reaction, chat: str) -> Message:
    return Message(
        reactionMessage=ReactionMessage(
            key=changes.message_key(reaction.on, chat),
            text=reaction.emoji,
            senderTimestampMS=changes.milliseconds_now(),
        )
    )


def add_context(built: Message, parts: Parts, own: str) -> None:
    """Add the quote and the mentions to the one part that `built` has."""
    if parts.quote is None and not parts.mentions:
        return
    context = ContextInfo(mentionedJID=[_jid(one) for one in parts.mentions])
    if parts.quote is not None:
        context.MergeFrom(_quoted(parts.quote, own))
    for field, part in built.ListFields():
        if field.name == "documentWithCaptionMessage":
            part.message.documentMessage.contextInfo.CopyFrom(context)
        elif field.name != "messageContextInfo":
            part.contextInfo.CopyFrom(context)


def shown_once(built: Message) -> Message:
    """The same media, which phones show once."""
    for field, part in built.ListFields():
        if field.name in {"imageMessage", "videoMessage", "audioMessage"}:
            part.viewOnce = True
    wrapped = FutureProofMessage(message=built)
    if built.HasField("audioMessage"):
        return Message(viewOnceMessageV2Extension=wrapped)
    return Message(viewOnceMessageV2=wrapped)


def _quoted(quote: Quote, own: str) -> ContextInfo:
    return ContextInfo(
        stanzaID=quote.of.message_id,
        participant=quote.of.sender or own,
        quotedMessage=Message(conversation=quote.text or ""),
    )


def _jid(mentioned: str) -> str:
    return mentioned if "@" in mentioned else f"{mentioned}@s.whatsapp.net"
