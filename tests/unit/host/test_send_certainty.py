"""What whatsmeow's error texts say about a send: whether a frame may have gone out."""

import pytest

from tests.whatsapp.protobufs import Message  # imports neonize without the Go library
from wa_session_host.engine.neonize.translation import send_error
from wa_session_host.engine.port import NotSent, OutcomeUnknown, SendRefused

assert Message


@pytest.mark.parametrize(
    ("text", "certainty"),
    [
        ("failed to send message node: websocket not connected", NotSent),
        ("failed to get user info: failed to send usync query: websocket not connected", NotSent),
        ("failed to get device list: websocket disconnected before info query", NotSent),
        ("the store doesn't contain a device JID", NotSent),
        ("websocket not connected", OutcomeUnknown),
        ("websocket disconnected before message send returned response", OutcomeUnknown),
        ("failed to send message node: frame socket is closed", OutcomeUnknown),
        ("timed out waiting for message send response", OutcomeUnknown),
        ("no LID found for 1@s.whatsapp.net from server", SendRefused),
        ("server returned error 479", SendRefused),
    ],
)
def test_only_steps_before_the_first_frame_are_certain(
    text: str, certainty: type[Exception]
) -> None:
    assert type(send_error(text)) is certainty
