"""One suite for the media store, on a folder and on a real S3 server."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.s3.server import BUCKET, S3Server, s3_server
from wa_runtime.media_store.store import PART_BYTES, MediaStore, NotStored, StoreUnavailable


@pytest.fixture(scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    """One server for the module."""
    async with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MediaStore:
    """A store of each kind."""
    if request.param == "file":
        return MediaStore((tmp_path / "up loads").as_uri())
    for name, value in request.getfixturevalue("s3").environment.items():
        monkeypatch.setenv(name, value)
    return MediaStore(f"s3://{BUCKET}/some/prefix")


async def pieces(data: bytes, fails: bool = False) -> AsyncIterator[bytes]:
    """The data in pieces of 64 KiB, then perhaps a failure."""
    for at in range(0, len(data), 65_536):
        yield data[at : at + 65_536]
    if fails:
        raise LookupError("the sender went away")


async def read(store: MediaStore, key: str) -> bytes:
    """The whole file."""
    return b"".join([chunk async for chunk in store.read(key)])


@pytest.mark.parametrize("size", [1, PART_BYTES, 2 * PART_BYTES + 7])
async def test_what_is_written_is_read(store: MediaStore, size: int) -> None:
    data = os.urandom(size)
    await store.write("session/file", pieces(data))
    assert await read(store, "session/file") == data
    await store.write("session/file", pieces(b"again"))
    assert await read(store, "session/file") == b"again"


async def test_a_deleted_file_is_not_stored(store: MediaStore) -> None:
    await store.write("session/file", pieces(b"x"))
    for _ in range(2):
        await store.delete("session/file")
    with pytest.raises(NotStored):
        await read(store, "session/file")


async def test_a_sender_that_fails_leaves_nothing_and_its_own_error(store: MediaStore) -> None:
    for size in (10, 2 * PART_BYTES):
        with pytest.raises(LookupError, match="the sender went away"):
            await store.write("session/broken", pieces(os.urandom(size), fails=True))
        with pytest.raises(NotStored):
            await read(store, "session/broken")


async def test_parts_of_a_killed_process_are_deleted_with_the_file(tmp_path: Path) -> None:
    store = MediaStore(tmp_path.as_uri())
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "file#1").write_bytes(b"half")
    await store.delete("session/file")
    assert not list((tmp_path / "session").iterdir())


async def test_a_server_that_is_away_is_unavailable(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = MediaStore(f"s3://{BUCKET}")
    await store.write("session/file", pieces(b"kept"))
    await s3.stop()
    for call in (read(store, "session/file"), store.delete("session/file")):
        with pytest.raises(StoreUnavailable):
            await call
    with pytest.raises(StoreUnavailable):
        await store.write("session/other", pieces(b"x"))
    await s3.start()
    assert await read(store, "session/file") == b"kept"


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = MediaStore((tmp_path / "file" / "uploads").as_uri())
    with pytest.raises(StoreUnavailable):
        await store.write("session/file", pieces(b"x"))


@pytest.mark.parametrize("url", ["ftp://host/x", "/var/media", "s3:///prefix", ""])
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="MEDIA_STORE_URL must be"):
        MediaStore(url)
