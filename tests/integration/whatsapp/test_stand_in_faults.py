"""The faults that the stand-in makes on request, and what the unchanged engine says to each."""

import asyncio
from pathlib import Path

import pytest

from tests.whatsapp import StandIn
from tests.whatsapp.engine_process import Engine, EngineError
from tests.whatsapp.linked_engine import Linked, linked
from tests.whatsapp.server import ROOT_KEY_VARIABLE


class TestFaults:
    async def test_a_dropped_engine_comes_back(self, whatsapp: StandIn, tmp_path: Path) -> None:
        async with linked(whatsapp, tmp_path) as session:
            await session.phone.drop()
            await session.engine.event("DisconnectedEv")
            await session.engine.event("ConnectedEv")
            await session.phone.wait_connected()

    async def test_nobody_connects_while_offline(self, whatsapp: StandIn, tmp_path: Path) -> None:
        async with linked(whatsapp, tmp_path) as session:
            whatsapp.offline()
            await session.engine.event("DisconnectedEv")
            await session.phone.wait_disconnected()
            await session.engine.wait_output("Error reconnecting")
            whatsapp.online()
            await session.engine.event("ConnectedEv")

    async def test_a_replaced_engine_stays_away(self, whatsapp: StandIn, tmp_path: Path) -> None:
        async with linked(whatsapp, tmp_path) as session:
            await session.phone.replace()
            await session.engine.event("StreamReplacedEv")
            assert not session.phone.connected

    async def test_an_unlinked_engine_is_logged_out(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            await session.phone.unlink()
            event = (await session.engine.event("LoggedOutEv"))["fields"]
            assert event == {"OnConnect": False, "Reason": "LOGGED_OUT"}

    async def test_an_engine_unlinked_while_away_is_logged_out_at_its_login(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            pass
        await session.phone.wait_disconnected()
        await session.phone.unlink()
        async with Engine.run(session.store, whatsapp.engine_environment()) as engine:
            await engine.connect()
            event = (await engine.event("LoggedOutEv"))["fields"]
            assert event == {"OnConnect": True, "Reason": "LOGGED_OUT"}

    async def test_a_refused_login_is_told_with_its_reason(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        cases = [
            _refused(whatsapp, tmp_path, "TemporaryBanEv", reason=402, code=101, expire=3600),
            _refused(whatsapp, tmp_path, "LoggedOutEv", reason=403),
            _refused(whatsapp, tmp_path, "ClientOutdatedEv", reason=405),
            _refused(whatsapp, tmp_path, "ConnectFailureEv", reason=409),
        ]
        banned, removed, outdated, failed = await asyncio.gather(*cases)
        assert banned == {"Code": "SEND_TO_TOO_MANY_PEOPLE", "Expire": "3600"}
        assert removed == {"OnConnect": True, "Reason": "MAIN_DEVICE_GONE"}
        assert outdated == {}
        assert failed["Reason"] == "BAD_USER_AGENT"

    async def test_a_login_that_is_allowed_again_works(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.phone.refuse_login(503)
            await session.phone.drop()
            await session.engine.wait_output("connect failure")
            session.phone.allow_login()
            await session.engine.event("ConnectedEv")

    async def test_a_refused_message_is_an_error(self, whatsapp: StandIn, tmp_path: Path) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.phone.refuse_messages(479)
            with pytest.raises(EngineError, match="479"):
                await session.engine.send_text(session.contact.number, "refused")
            session.phone.accept_messages()
            await session.engine.send_text(session.contact.number, "accepted")
            assert (await session.contact.receive()).text == "accepted"

    async def test_a_held_ack_keeps_the_sender_waiting(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.phone.hold_acks()
            sending = asyncio.create_task(
                session.engine.send_text(session.contact.number, "heard, but not confirmed")
            )
            message = await session.contact.receive()
            assert not sending.done()
            session.phone.release_acks()
            assert await sending == message.id

    async def test_a_message_sent_again_after_a_drop_is_taken_once(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.phone.hold_acks()
            sending = asyncio.create_task(session.engine.send_text(session.contact.number, "once"))
            message = await session.contact.receive()
            session.phone.forget_acks()
            await session.phone.drop()
            assert await sending == message.id
            [accepted] = [one for one in whatsapp.messages if one.id == message.id]
            assert accepted.deliveries == 2
            assert len(session.contact.inbox) == 1

    async def test_a_muted_server_answers_nothing(self, whatsapp: StandIn, tmp_path: Path) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.phone.mute()
            with pytest.raises(TimeoutError):
                await session.engine.send_text(session.contact.number, "unheard", timeout=1)
            assert session.phone.connected
            assert session.contact.inbox == []
            session.phone.unmute()


async def _refused(
    whatsapp: StandIn, directory: Path, event: str, *, reason: int, **attributes: int
) -> dict[str, object]:
    """Break the connection, refuse the next login, and return the fields of the event."""
    store = directory / str(reason)
    store.mkdir()
    async with linked(whatsapp, store) as session:
        session.phone.refuse_login(reason, **attributes)
        await session.phone.drop()
        fields: dict[str, object] = (await session.engine.event(event))["fields"]
        return fields


class TestMessagesThatCannotBeDecrypted:
    async def test_the_engine_sends_again_what_it_remembers(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            message_id = await _send_undecryptable(session)
            message = await session.contact.receive()
            receipt = (await session.engine.event("ReceiptEv"))["fields"]
        assert (message.id, message.text) == (message_id, "lost at first")
        assert (receipt["Type"], receipt["MessageIDs"]) == ("RETRY", [message_id])

    async def test_the_engine_forgets_over_a_restart(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.contact.asks_again = False
            message_id = await _send_undecryptable(session)
        async with Engine.run(session.store, whatsapp.engine_environment()) as engine:
            await engine.connect()
            await engine.event("ConnectedEv")
            await session.contact.ask_again(message_id, session.phone.number)
            await engine.wait_output("couldn't find message")
        assert [message.text for message in session.contact.inbox] == ["opens the session"]

    async def test_a_conversation_in_both_directions_at_once_loses_nothing(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        """The engine itself garbles some then; its answers to the retry receipts repair it."""
        texts = {str(number) for number in range(30)}
        async with linked(whatsapp, tmp_path) as session:
            engine, contact, number = session.engine, session.contact, session.phone.number
            await asyncio.gather(
                *(contact.send_text(number, text) for text in texts),
                *(engine.send_text(contact.number, text) for text in texts),
            )
            assert {(await contact.receive()).text for _ in texts} == texts
            events = [(await engine.event("MessageEv"))["fields"] for _ in texts]
        assert {event["Message"]["conversation"] for event in events} == texts


async def _send_undecryptable(session: Linked) -> str:
    await session.engine.send_text(session.contact.number, "opens the session")
    await session.contact.receive()
    session.contact.forget_sessions()
    message_id = await session.engine.send_text(session.contact.number, "lost at first")
    assert session.contact.undecryptable == [message_id]
    return message_id


class TestTrust:
    """That the stand-in is reached at all hangs on these two: nothing else is weakened."""

    async def test_without_the_root_key_the_engine_distrusts_the_server(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        environment = whatsapp.engine_environment()
        del environment[ROOT_KEY_VARIABLE]
        async with Engine.run(tmp_path / "devices.db", environment) as engine:
            await engine.connect()
            error = (await engine.event("connect_ended"))["error"]
        assert "failed to verify intermediate cert signature" in error

    async def test_without_the_authority_the_engine_distrusts_the_host(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        environment = whatsapp.engine_environment()
        del environment["SSL_CERT_FILE"]
        async with Engine.run(tmp_path / "devices.db", environment) as engine:
            await engine.connect()
            error = (await engine.event("connect_ended"))["error"]
        assert "x509" in error
