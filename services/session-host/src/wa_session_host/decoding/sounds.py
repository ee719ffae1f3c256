"""Sounds as WhatsApp plays them: audio files, and voice notes.

Source of the formats: WhatsApp's Cloud API, supported media types. Voice notes: OGG/Opus, mono,
with duration and a waveform of 64 values.
"""

from array import array
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from wa_session_host.decoding.outcome import Converted, Refused
from wa_session_host.decoding.streams import (
    AudioEncoder,
    brand_of,
    first_audio,
    first_video,
    opened,
    whole_seconds,
)

VOICE_TYPE = "audio/ogg; codecs=opus"
VOICE_BITS = "32000"
VOICE_RATE = 48_000
AUDIO_BITS = "128000"
WAVEFORM_VALUES = 64
WAVEFORM_PEAK = 100
LEVEL_RATE = 8_000
TRIED_PACKETS = 50
"""Packets of a file that goes out as it is: one of them must decode."""
MOST_CHANNELS = 2


def audio(path: Path, output: Path) -> Converted:
    """An audio file that phones play: the file as it is, or as AAC.

    Raises:
        Refused: no sound, damaged, or without a decoder.
    """
    with opened(path, "audio") as source:
        stream = _stream_of_sound(source, "audio")
        mime_type = _played_type(source, stream)
        if mime_type is not None:
            return Converted(mime_type=mime_type, is_new=False, seconds=_seconds(source, stream))
        rate = stream.rate if stream.rate in {44_100, 48_000} else VOICE_RATE
        layout = "mono" if stream.channels == 1 else "stereo"
        samples = 0
        with av.open(str(output), "w", format="ipod") as target:
            encoder = AudioEncoder(target, "aac", rate=rate, layout=layout, b=AUDIO_BITS)
            for frame in source.decode(stream):
                samples += frame.samples
                encoder.encode(frame)
            _require_sound(samples, "audio")
            encoder.encode(None)
        seconds = whole_seconds(samples / stream.rate)
    return Converted(mime_type="audio/mp4", is_new=True, seconds=seconds)


def voice(path: Path, output: Path) -> Converted:
    """A voice note. OGG/Opus in mono goes out as it is.

    Raises:
        Refused: see `audio`.
    """
    with opened(path, "voice") as source:
        stream = _stream_of_sound(source, "voice")
        fits = (source.format.name, stream.codec_context.name) == ("ogg", "opus")
        fits = fits and stream.channels == 1
        levels = _Levels()
        if fits:
            for frame in source.decode(stream):
                levels.add(frame)
            _require_sound(levels.samples, "voice")
        else:
            with av.open(str(output), "w", format="ogg") as target:
                encoder = AudioEncoder(
                    target, "libopus", rate=VOICE_RATE, layout="mono",
                    b=VOICE_BITS, application="voip",
                )  # fmt: skip
                for frame in source.decode(stream):
                    levels.add(frame)
                    encoder.encode(frame)
                _require_sound(levels.samples, "voice")
                encoder.encode(None)
    levels.add(None)
    return Converted(
        mime_type=VOICE_TYPE,
        is_new=not fits,
        seconds=whole_seconds(levels.samples / LEVEL_RATE),
        waveform=b64encode(levels.waveform()).decode(),
    )


def _stream_of_sound(source: InputContainer, kind: str) -> Any:
    stream = first_audio(source)
    if stream is None:
        raise Refused("media_invalid", f"The media is not of type {kind}: it has no sound.")
    if stream.codec_context is None:
        raise Refused("media_invalid", "The sound's codec is not known: send MP3, AAC or Opus.")
    return stream


def _require_sound(samples: int, kind: str) -> None:
    if samples == 0:
        raise Refused("media_invalid", f"The {kind} has no sound: the file is damaged or empty.")


def _played_type(source: InputContainer, stream: Any) -> str | None:
    """The MIME type of a file that phones play as it is; None for others."""
    if first_video(source) is not None or stream.channels > MOST_CHANNELS:
        return None
    match source.format.name.split(",")[0], stream.codec_context.name:
        case "mp3", "mp3" | "mp3float":
            return "audio/mpeg"
        case "aac", "aac":
            return "audio/aac"
        case "mov", "aac" if brand_of(source) != "qt":
            return "audio/mp4"
        case "amr", "amrnb" | "amr_nb" | "libopencore_amrnb":
            return "audio/amr"
        case "ogg", "opus" | "libopus":
            return VOICE_TYPE
    return None


def _seconds(source: InputContainer, stream: Any) -> int:
    """The sum of all packets' durations. The first packets are decoded, as a proof."""
    duration, samples, tried = 0, 0, 0
    for packet in source.demux(stream):
        duration += packet.duration or 0
        if tried < TRIED_PACKETS:
            tried += 1
            samples += sum(frame.samples for frame in packet.decode())
    _require_sound(samples, "audio")
    return whole_seconds(float(duration * stream.time_base))


class _Levels:
    """How loud a sound is over its time."""

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=LEVEL_RATE)
        self._levels: list[float] = []
        self.samples = 0

    def add(self, frame: av.AudioFrame | None) -> None:
        """The level of the next frame; None ends the sound."""
        for one in self._resampler.resample(frame):
            values = array("h", bytes(one.planes[0])[: 2 * one.samples])
            self.samples += one.samples
            if values:
                self._levels.append(sum(map(abs, values)) / len(values))

    def waveform(self) -> bytes:
        """64 values from 0 to 100, relative to the loudest one."""
        levels, count = self._levels, len(self._levels)
        bounds = [count * index // WAVEFORM_VALUES for index in range(WAVEFORM_VALUES + 1)]
        means = [
            sum(part) / len(part)
            for start, end in pairwise(bounds)
            if (part := levels[min(start, count - 1) : max(end, start + 1)])
        ]
        peak = max(means) or 1
        return bytes(round(WAVEFORM_PEAK * mean / peak) for mean in means)
