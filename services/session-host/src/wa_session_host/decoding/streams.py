"""Audio and video files, opened by FFmpeg's libraries.

Only the demuxers below are tried, on the one local file: no playlist, no other protocol, no device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.logging
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from wa_session_host.decoding.outcome import (
    damaged,
    is_too_large,
    not_of_type,
    too_large_output,
)
from wa_session_host.decoding.signatures import NO_MEDIA, OTHER_PICTURES, PICTURES, form_of

DEMUXERS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,flv,asf,gif,"
    "mp3,ogg,flac,wav,w64,aac,amr,amrnb,amrwb,aiff,au,caf,ac3,eac3"
)
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
MICROSECONDS = 1_000_000
LEAST_SHARE = 0.9
"""Of the duration that a file claims. One that ends before is incomplete."""


@contextmanager
def opened(path: Path, kind: str) -> Iterator[InputContainer]:
    """The file's streams. What goes wrong inside is a Refused."""
    form = form_of(path)
    av.logging.set_level(None)
    if form in (PICTURES | OTHER_PICTURES) - {"GIF"}:
        raise not_of_type(kind, form)
    try:
        with av.open(str(path), options=_OPTIONS) as container:
            yield container
    except av.error.MemoryError as error:
        raise MemoryError from error
    except (OSError, ValueError, IndexError, ArithmeticError, av.error.FFmpegError) as error:
        if is_too_large(error):
            raise too_large_output(kind) from error
        raise (not_of_type if form in NO_MEDIA else damaged)(kind, form) from error


def first_audio(container: InputContainer) -> Any:
    """The first stream of sound, or None."""
    return next(iter(container.streams.audio), None)


def first_video(container: InputContainer) -> Any:
    """The first stream of moving pictures, or None. A cover is none."""
    moving = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    return next(moving, None)


def brand_of(container: InputContainer) -> str:
    """The major brand of an ISO base media file, for example `isom`; empty for other files."""
    return str(container.metadata.get("major_brand", "")).strip()


def whole_seconds(seconds: float) -> int:
    """A duration as WhatsApp has it: what is not silent lasts a second at least."""
    return max(1, round(seconds))


class AudioEncoder:
    """Encodes the frames of one stream as another stream of `target`."""

    def __init__(
        self, target: OutputContainer, codec: str, *, rate: int, layout: str, **options: str
    ) -> None:
        """`rate` in samples a second; `options` are the codec's."""
        self._target = target
        self._stream: Any = target.add_stream(codec, rate=rate, layout=layout, options=options)
        forms = self._stream.codec_context.codec.audio_formats
        form = forms[0].name if forms else None
        self._resampler = av.AudioResampler(format=form, layout=layout, rate=rate)

    def encode(self, frame: Any) -> None:
        """Encode an `AudioFrame`; None ends the stream."""
        for one in self._resampler.resample(frame):
            self._target.mux(self._stream.encode(one))
        if frame is None:
            self._target.mux(self._stream.encode(None))
