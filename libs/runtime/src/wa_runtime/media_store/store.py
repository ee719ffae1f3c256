"""Uploaded media in a folder or an S3-compatible bucket, streamed both ways."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from obstore.store import LocalStore, S3Store

PART_BYTES = 5 * 1024 * 1024
"""The least size of a part of an S3 upload. One part of a file is in memory at a time."""
CHUNK = 64 * 1024
CONNECT = "3s"
ANSWER = "30s"
RETRY_SECONDS = 5.0


class StoreUnavailable(Exception):
    """The media store does not answer, or refuses. Try again later."""


class NotStored(Exception):
    """The media store has no such file."""


class MediaStore:
    """Files by key. The library is loaded with the first use."""

    def __init__(self, url: str) -> None:
        """`url` is `file:///folder`, or `s3://bucket/prefix` with `AWS_…` in the environment.

        Raises:
            ValueError: neither.
        """
        self._url = url
        parts = urlsplit(url)
        if parts.scheme not in {"file", "s3"} or (parts.scheme == "s3" and not parts.netloc):
            raise ValueError(
                "MEDIA_STORE_URL must be file:///folder or s3://bucket/prefix, "
                f"not {parts.scheme}://…"
            )
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None

    @cached_property
    def _store(self) -> "LocalStore | S3Store":
        from obstore.store import LocalStore, S3Store  # noqa: PLC0415 - 15 MB, for media only

        if self._folder is not None:
            return LocalStore(self._folder, mkdir=True, automatic_cleanup=True)
        return S3Store.from_url(
            self._url,
            client_options={"allow_http": True, "connect_timeout": CONNECT, "timeout": ANSWER},
            retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """Store a file. Nothing is stored if `chunks` raises.

        Raises:
            StoreUnavailable: the file is not stored.
            Exception: what `chunks` raised.
        """
        import obstore  # noqa: PLC0415

        failures: list[Exception] = []

        async def observed() -> AsyncIterator[bytes]:
            try:
                async for chunk in chunks:
                    yield chunk
            except Exception as error:
                failures.append(error)
                raise

        try:
            await obstore.put_async(
                self._store, key, observed(), chunk_size=PART_BYTES, max_concurrency=1
            )
        except Exception as error:
            if failures:  # the store wraps it, or fails in turn when it takes the parts back
                raise failures[0] from None
            raise _unavailable(error) from error

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The file's bytes in pieces.

        Raises:
            NotStored: there is no such file.
            StoreUnavailable: also in the middle.
        """
        import obstore  # noqa: PLC0415

        try:
            found = await obstore.get_async(self._store, key)
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except FileNotFoundError as error:
            raise NotStored(key) from error
        except Exception as error:
            raise _unavailable(error) from error

    async def delete(self, key: str) -> None:
        """Delete a file, and what a killed process left of it. Without effect for an unknown one.

        Raises:
            StoreUnavailable: it may be there still.
        """
        import obstore  # noqa: PLC0415

        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            pass
        except Exception as error:
            raise _unavailable(error) from error
        if self._folder is not None:
            await asyncio.to_thread(_delete_parts, self._folder / key)


def _delete_parts(path: Path) -> None:
    """The library writes a file's parts beside it, as `name#1`."""
    for left in path.parent.glob(f"{path.name}#*"):
        left.unlink(missing_ok=True)


def _unavailable(error: Exception) -> Exception:
    """The library has many errors. A fault of our own passes."""
    import obstore.exceptions  # noqa: PLC0415

    if isinstance(error, OSError | obstore.exceptions.BaseError):
        return StoreUnavailable(type(error).__name__)
    return error
