"""The stand-in against the unchanged engine: linking, sending, receiving, seen from both sides.

Each test runs the engine in a process of its own, with a fresh store.
"""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from tests.whatsapp import PairingCodeInvalid, QRInvalid, StandIn
from tests.whatsapp.engine_process import Engine, EngineError
from tests.whatsapp.linked_engine import linked, new_number


class TestLinking:
    @pytest.mark.parametrize("forked", [False, True])
    async def test_a_scanned_code_links_the_engine(
        self, whatsapp: StandIn, tmp_path: Path, forked: bool
    ) -> None:
        async with linked(whatsapp, tmp_path, forked=forked) as session:
            pairing = await session.engine.event("PairStatusEv")
            assert pairing["fields"]["ID"]["User"] == session.phone.number
            assert session.phone.connected
            await session.engine.send_text(session.contact.number, "hello")
            assert (await session.contact.receive()).text == "hello"

    async def test_a_code_that_nobody_shows_is_refused(self, whatsapp: StandIn) -> None:
        with pytest.raises(QRInvalid):
            await whatsapp.phone(new_number()).scan("2@unknown,a,b,c,1")

    async def test_a_typed_code_links_the_engine(self, whatsapp: StandIn, tmp_path: Path) -> None:
        phone = whatsapp.phone(new_number())
        async with Engine.run(tmp_path / "devices.db", whatsapp.engine_environment()) as engine:
            await engine.connect()
            await engine.qr()
            code = await engine.call("pair", number=phone.number)
            with pytest.raises(PairingCodeInvalid):
                await phone.enter_pairing_code("1111-1111")
            await phone.enter_pairing_code(code)
            await engine.event("ConnectedEv")
            assert phone.connected

    async def test_a_linked_engine_logs_in_after_a_restart(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            await session.engine.send_text(session.contact.number, "before")
        await session.phone.wait_disconnected()
        async with Engine.run(session.store, whatsapp.engine_environment()) as engine:
            await engine.connect()
            await engine.event("ConnectedEv")
            await engine.send_text(session.contact.number, "after")
            assert [(await session.contact.receive()).text for _ in "12"] == ["before", "after"]
            assert "qr" not in [event["event"] for event in engine.events]

    async def test_a_log_out_by_the_engine_unlinks_it(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            await session.engine.call("logout")
            assert not session.phone.is_linked


class TestSending:
    async def test_text_arrives_as_written_and_not_as_a_robots(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        text = "Grüße, नमस्ते 🌍\nsecond line"
        async with linked(whatsapp, tmp_path) as session:
            message_id = await session.engine.send_text(session.contact.number, text)
            message = await session.contact.receive()
        assert (message.id, message.text, message.kind) == (message_id, text, "text")
        assert message.sender == session.phone.number
        assert "bot" not in message.node_tags
        assert [copy.text for copy in session.phone.inbox] == [text]

    async def test_files_arrive_as_they_were_sent(self, whatsapp: StandIn, tmp_path: Path) -> None:
        image, video, document = (os.urandom(size) for size in (1_000, 300_001, 16))
        async with linked(whatsapp, tmp_path) as session:
            engine, to = session.engine, session.contact.number
            await engine.send_media(to, "image", image, "image/png", caption="a picture")
            await engine.send_media(to, "video", video, "video/mp4", caption="a film")
            await engine.send_media(to, "document", document, "application/pdf", fileName="a.pdf")
            messages = [await session.contact.receive() for _ in range(3)]
        assert [message.kind for message in messages] == ["image", "video", "document"]
        assert [message.media for message in messages] == [image, video, document]
        assert [message.caption for message in messages] == ["a picture", "a film", ""]
        assert [message.mime_type for message in messages] == [
            "image/png", "video/mp4", "application/pdf",
        ]  # fmt: skip
        assert messages[2].file_name == "a.pdf"

    async def test_many_at_once_all_arrive(self, whatsapp: StandIn, tmp_path: Path) -> None:
        texts = [f"message {number}" for number in range(60)]
        async with linked(whatsapp, tmp_path) as session:
            to = session.contact.number
            await asyncio.gather(*(session.engine.send_text(to, text) for text in texts))
            arrived = [(await session.contact.receive()).text for _ in texts]
        assert sorted(arrived) == sorted(texts)
        assert session.contact.undecryptable == []

    async def test_a_number_that_is_not_on_whatsapp_is_an_error(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            with pytest.raises(EngineError, match="no LID found"):
                await session.engine.send_text(new_number(), "anybody?")

    async def test_receipts_reach_the_sender(self, whatsapp: StandIn, tmp_path: Path) -> None:
        async with linked(whatsapp, tmp_path) as session:
            session.contact.auto_deliver = True
            message_id = await session.engine.send_text(session.contact.number, "hello")
            await session.contact.receive()
            delivered = (await session.engine.event("ReceiptEv"))["fields"]
            await session.contact.read(message_id)
            read = (await session.engine.event("ReceiptEv"))["fields"]
        assert (delivered["MessageIDs"], delivered["Type"]) == ([message_id], "DELIVERED")
        assert (read["MessageIDs"], read["Type"]) == ([message_id], "READ")


class TestReceiving:
    async def test_a_text_is_decrypted_by_the_engine(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            message_id = await session.contact.send_text(session.phone.number, "hello 🌍")
            event = (await session.engine.event("MessageEv"))["fields"]
            await session.engine.send_text(session.contact.number, "an answer")
            assert (await session.contact.receive()).text == "an answer"
        assert event["Info"]["ID"] == message_id
        assert event["Info"]["MessageSource"]["SenderAlt"]["User"] == session.contact.number
        assert event["Message"]["conversation"] == "hello 🌍"

    async def test_an_image_is_downloaded_by_the_engine(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        image = os.urandom(5_000)
        async with linked(whatsapp, tmp_path) as session:
            await session.contact.send_image(session.phone.number, image, "image/png", "look")
            event = (await session.engine.event("MessageEv"))["fields"]
            downloaded = await session.engine.call("download", raw=event["raw"])
        assert event["Message"]["imageMessage"]["caption"] == "look"
        assert base64.b64decode(downloaded) == image

    async def test_what_came_while_offline_is_delivered_after_the_login(
        self, whatsapp: StandIn, tmp_path: Path
    ) -> None:
        async with linked(whatsapp, tmp_path) as session:
            pass
        await session.phone.wait_disconnected()
        await session.contact.send_text(session.phone.number, "are you there?")
        async with Engine.run(session.store, whatsapp.engine_environment()) as engine:
            await engine.connect()
            event = (await engine.event("MessageEv"))["fields"]
        assert event["Message"]["conversation"] == "are you there?"
