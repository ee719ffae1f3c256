"""What the engine's error texts say about a send: whether a frame may have gone out, and why not."""

import pytest

from tests.whatsapp.protobufs import Message  # imports neonize without the Go library
from wa_session_host.engine.neonize.outgoing.send_errors import preparation_error, send_error
from wa_session_host.engine.port import NotNow, NotSent, OutcomeUnknown, SendRefused

assert Message

USYNC = "failed to get user info for 1@s.whatsapp.net to fill LID cache: failed to send usync query"
GROUP = "failed to get group members"
MEDIA = "failed to refresh media connections: failed to query media connections"


@pytest.mark.parametrize(
    "text",
    [
        "failed to send message node: websocket not connected",
        "failed to send message node: frame socket is closed",
        f"{USYNC}: websocket not connected",
        "failed to get device list: websocket disconnected before info query returned response",
        "failed to get device list: websocket disconnected before info query (retry) returned response",
        "the store doesn't contain a device JID",
        f"{MEDIA}: websocket not connected",
    ],
)
def test_without_a_connection_the_session_waits(text: str) -> None:
    assert type(send_error(text)) is NotSent


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{USYNC}: info query returned status 429: rate-overlimit", "rate_limited_by_whatsapp"),
        (f"{GROUP}: info query returned status 429: rate-overlimit", "rate_limited_by_whatsapp"),
        (f"{GROUP}: info query returned status 419: resource-limit", "rate_limited_by_whatsapp"),
        (f"{USYNC}: info query returned status 503: service-unavailable", "whatsapp_unavailable"),
        (f"{USYNC}: info query timed out", "whatsapp_unavailable"),
        (f"{USYNC}: missing <list> element in response to usync query", "whatsapp_unavailable"),
        (f"{MEDIA}: info query returned status 401: not-authorized", "whatsapp_unavailable"),
        (f"{MEDIA}: info query timed out", "whatsapp_unavailable"),
        ("upload failed with status code 429", "rate_limited_by_whatsapp"),
        ("upload failed with status code 401", "whatsapp_unavailable"),
        ("upload failed with status code 503", "whatsapp_unavailable"),
        ('failed to execute request: Post "https://mmg.whatsapp.net": EOF', "whatsapp_unavailable"),
        ("failed to parse upload response: unexpected EOF", "whatsapp_unavailable"),
        ("failed to get LID for PN 1@s.whatsapp.net: database is locked", "internal"),
        ("failed to get device list: database is locked", "internal"),
        ("no LID found for 1@s.whatsapp.net from server", "whatsapp_unavailable"),
        ("server returned error 463", "reachout_timelock"),
        ("server returned error 429", "rate_limited_by_whatsapp"),
        ("server returned error 500", "whatsapp_unavailable"),
    ],
)
def test_what_passes_sets_the_message_aside(text: str, code: str) -> None:
    error = send_error(text)
    assert isinstance(error, NotNow)
    assert (error.code, error.unrecognised) == (code, False)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Function returned nothing.", "invalid_recipient"),
        (f"{USYNC}: info query returned status 400: bad-request", "invalid_recipient"),
        (f"{USYNC}: info query returned status 406: not-acceptable", "invalid_recipient"),
        ("can't send message to unknown server nowhere", "invalid_recipient"),
        (f"{GROUP}: you're not participating in that group", "not_in_group"),
        (f"{GROUP}: info query returned status 401: not-authorized", "not_in_group"),
        (f"{GROUP}: that group does not exist", "group_not_found"),
        (f"{GROUP}: info query returned status 410: gone", "group_not_found"),
        ("upload failed with status code 413", "media_refused_by_whatsapp"),
        ("upload failed with status code 415", "media_refused_by_whatsapp"),
        ("upload failed with status code 400", "media_refused_by_whatsapp"),
        ("failed to send message node: frame too large (got 9 bytes, max 8 bytes)", "send_failed"),
        ("server returned error 479", "send_failed"),
        ("server returned error 420", "send_failed"),
    ],
)
def test_a_refusal_ends_the_message_with_its_code(text: str, code: str) -> None:
    error = send_error(text)
    assert isinstance(error, SendRefused)
    assert error.code == code


def test_403_in_a_direct_chat_says_what_it_means_and_is_no_block_by_the_recipient() -> None:
    error = send_error("server returned error 403")
    assert isinstance(error, SendRefused)
    assert error.code == "send_failed"
    assert "the number has blocked the recipient" in str(error)
    in_a_group = send_error("server returned error 403", to_group=True)
    assert isinstance(in_a_group, SendRefused)
    assert in_a_group.code == "group_send_forbidden"


def test_a_group_refuses_who_may_not_write() -> None:
    error = send_error("server returned error 420", to_group=True)
    assert isinstance(error, SendRefused)
    assert error.code == "group_send_forbidden"


@pytest.mark.parametrize(
    "text",
    [
        "websocket not connected",
        "frame socket is closed",
        "websocket disconnected before message send returned response",
        "websocket disconnected before message send (retry) returned response",
        "failed to send message node: failed to write frame: broken pipe",
        "timed out waiting for message send response",
    ],
)
def test_after_the_first_frame_the_outcome_is_unknown(text: str) -> None:
    error = send_error(text)
    assert isinstance(error, OutcomeUnknown)
    assert not error.unrecognised


def test_an_unrecognised_text_is_unknown_and_told() -> None:
    error = send_error("a text of the next version")
    assert isinstance(error, OutcomeUnknown)
    assert error.unrecognised


@pytest.mark.parametrize("text", ["a text of the next version", "websocket not connected", "EOF"])
def test_nothing_before_the_send_is_ever_unknown(text: str) -> None:
    assert isinstance(preparation_error(text), NotSent | NotNow)
