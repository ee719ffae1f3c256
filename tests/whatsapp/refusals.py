"""What WhatsApp refuses or leaves unanswered, as data that a test selects.

Source: the engine's `errors.go` (codes and texts of `<error>`), `send.go` (the ack's `error`),
`upload.go` (statuses). What number WhatsApp calls malformed, and with which ack it refuses a message
to an announcement group, is not publicly known: an empty list of users was seen for the first, and
420 was reported for the second.
"""

from dataclasses import dataclass, field

from tests.whatsapp.nodes import SERVER_JID, Attributes, Node
from tests.whatsapp.protobufs import AppVersion


@dataclass(frozen=True)
class QueryRefusal:
    """An `<iq type=error>` with this code; without a code no answer at all."""

    code: int | None
    text: str = ""

    def answer(self, query: Node) -> Node | None:
        """The stanza; None if the server stays silent."""
        if self.code is None:
            return None
        error = Node("error", {"code": str(self.code), "text": self.text})
        attrs: Attributes = {"from": SERVER_JID, "type": "error", "id": query.text("id")}
        return Node("iq", attrs, [error])


@dataclass(frozen=True)
class LoginRefusal:
    """A `<failure>` in place of the answer to a client's hello."""

    reason: int
    attributes: tuple[tuple[str, str], ...] = ()

    def answer(self) -> Node:
        """The stanza, after which the server hangs up."""
        return Node("failure", {"reason": str(self.reason), **dict(self.attributes)})


UNAUTHORIZED = LoginRefusal(401, (("location", "frc"),))
UNAUTHORIZED_WITH_WORDS = LoginRefusal(
    401,
    (
        ("location", "frc"),
        ("logout_message_header", "You were logged out."),
        ("logout_message_subtext", "Unofficial apps are not allowed."),
    ),
)
TEMPORARY_BAN = LoginRefusal(402, (("code", "101"), ("expire", "7200")))
LOCKED = LoginRefusal(
    403,
    (
        ("logout_message_header", "This account is locked."),
        ("logout_message_subtext", "Open WhatsApp on the phone."),
    ),
)
OUTDATED = LoginRefusal(405)
BANNED = LoginRefusal(406)
BAD_USER_AGENT = LoginRefusal(409)
SERVICE_UNAVAILABLE = LoginRefusal(503)
EXPERIMENTAL = LoginRefusal(501)
LOGIN_REFUSALS = (
    *(UNAUTHORIZED, UNAUTHORIZED_WITH_WORDS, TEMPORARY_BAN, LOCKED, OUTDATED, BANNED),
    *(BAD_USER_AGENT, SERVICE_UNAVAILABLE, EXPERIMENTAL),
)
"""What a client may get instead of a login, linked or not. The attributes with words are those that
the engine reads; which numbers WhatsApp gives to devices that are not linked is not public."""

PASSKEY_OPTIONS = (
    b'{"challenge":"AAAA","timeout":60000,"rpId":"whatsapp.com",'
    b'"allowCredentials":[],"userVerification":"required"}'
)
"""WebAuthn's request options, as `passkey_request_options` carries them."""

BAD_REQUEST = QueryRefusal(400, "bad-request")
FORBIDDEN = QueryRefusal(403, "forbidden")
NOT_FOUND = QueryRefusal(404, "item-not-found")
NOT_ACCEPTABLE = QueryRefusal(406, "not-acceptable")
RATE_OVERLIMIT = QueryRefusal(429, "rate-overlimit")
UNAVAILABLE = QueryRefusal(503, "service-unavailable")
SILENCE = QueryRefusal(None)

REACHOUT_TIMELOCK = 463
ANNOUNCEMENT_GROUP = 420
CUT_OFF = 0
"""An upload whose connection ends without an answer."""


@dataclass
class Refusals:
    """Refusals in force. A test removes them to let WhatsApp change its mind."""

    numbers: dict[str, QueryRefusal] = field(default_factory=dict)
    """Of queries about these numbers."""
    malformed: set[str] = field(default_factory=set)
    """Numbers that are left out of the answer."""
    without_address: set[str] = field(default_factory=set)
    """Numbers that have an account, but no LID in any answer."""
    keys: dict[str, QueryRefusal] = field(default_factory=dict)
    """Of queries for the keys of these numbers' phones."""
    keyless: set[str] = field(default_factory=set)
    """Numbers that an answer about keys says nothing of but an error."""
    groups: dict[str, QueryRefusal] = field(default_factory=dict)
    """Of queries about these groups, by the part before `@g.us`."""
    messages: dict[str, int] = field(default_factory=dict)
    """Acks with an error, by the recipient's number or group."""
    opens_no_chats: bool = False
    """Acks with 463 for messages to people with whom the sender exchanged none."""
    pairing_codes: dict[str, QueryRefusal] = field(default_factory=dict)
    """Of requests for a pairing code, by number."""
    linking: LoginRefusal | None = None
    """Of every client that is not linked."""
    oldest_client: int = 0
    """Clients whose version has a lower third number are outdated, linked or not."""

    def of_client(self, version: AppVersion, *, is_linked: bool) -> LoginRefusal | None:
        """The refusal of a client of this version."""
        if version.tertiary < self.oldest_client:
            return OUTDATED
        return None if is_linked else self.linking

    def of_query(self, query: Node) -> QueryRefusal | None:
        """The refusal of a query about a number or a group."""
        if query.text("xmlns") == "w:g2":
            return self.groups.get(query.jid("to").user)
        if query.child("link_code_companion_reg") is not None:
            return self.pairing_codes.get(query.need("link_code_companion_reg").jid("jid").user)
        if query.text("xmlns") == "usync":
            asked = (asked_number(user) for user in query.need("usync").need("list").children)
            return next((self.numbers[one] for one in asked if one in self.numbers), None)
        return None


def asked_number(user: Node) -> str:
    """The number or LID that an entry of a query asks about."""
    contact = user.child("contact")
    if contact is None:
        return user.jid("jid").user
    return contact.data.decode().partition("@")[0].removeprefix("+")
