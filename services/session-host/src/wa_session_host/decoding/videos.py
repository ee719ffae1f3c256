"""Videos as WhatsApp plays them: MP4 with H.264 and AAC.

Source of the formats: WhatsApp's Cloud API, supported media types.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
from av.container import InputContainer, OutputContainer

from wa_session_host.decoding.outcome import Converted, Refused, damaged, too_many_pixels
from wa_session_host.decoding.pictures import thumbnail_of
from wa_session_host.decoding.signatures import form_of
from wa_session_host.decoding.streams import (
    LEAST_SHARE,
    MICROSECONDS,
    AudioEncoder,
    brand_of,
    first_audio,
    first_video,
    opened,
    whole_seconds,
)

LONGEST_SIDE = 1280
"""Of a video that is encoded again."""
_SHOWN_PIXELS = {"yuv420p", "yuvj420p"}
_COPIED_FROM = {"mov", "matroska", "flv", "mpegts"}
_WITH_DURATION = {"mov", "matroska", "flv", "avi", "asf"}
_TURNS = {90: "transpose=cclock", 180: "hflip,vflip", 270: "transpose=clock"}
_AUDIO_RATE = 48_000
_AUDIO_BITS = "128000"


@dataclass(frozen=True)
class _Look:
    """The first frame as a phone shows it. `turn` is counter-clockwise, in degrees."""

    width: int
    height: int
    turn: int
    thumbnail: str


def video(path: Path, output: Path, pixels: int) -> Converted:
    """A video that phones play: the file as it is, in another container, or encoded again.

    Raises:
        Refused: no moving pictures, damaged, incomplete, or too many pixels.
    """
    look = _look(path, pixels)
    with opened(path, "video") as source:
        mime_type = _played_type(source, first_video(source))
        if mime_type is not None:
            seconds = _seconds(source, first_video(source))
        else:
            with av.open(
                str(output), "w", format="mp4", options={"movflags": "faststart"}
            ) as target:
                seconds = _Conversion(source, target, look).run()
        if seconds < LEAST_SHARE * _claimed_seconds(source):
            raise damaged("video", form_of(path))
    return Converted(
        mime_type=mime_type or "video/mp4",
        is_new=mime_type is None,
        width=look.width,
        height=look.height,
        thumbnail=look.thumbnail,
        seconds=whole_seconds(seconds),
    )


def _look(path: Path, pixels: int) -> _Look:
    """The first frame that decodes. Raises Refused."""
    with opened(path, "video") as source:
        stream = first_video(source)
        if stream is None:
            raise Refused("media_invalid", "The media is not of type video: it has no pictures.")
        if stream.codec_context is None:
            raise Refused("media_invalid", "The video's codec is not known: send H.264 in MP4.")
        if stream.width * stream.height > pixels:
            raise too_many_pixels("video", stream.width, stream.height, pixels)
        frame = next(source.decode(stream), None)
        if frame is None:
            raise damaged("video", form_of(path))
        turn = int(frame.rotation) % 360
        width = round(frame.width * float(stream.sample_aspect_ratio or 1))
        picture = frame.to_image().resize((width, frame.height))
        if turn in _TURNS:
            picture = picture.rotate(turn, expand=True)
        width, height = picture.size
        return _Look(width, height, turn, thumbnail_of(picture))


def _claimed_seconds(source: InputContainer) -> float:
    """The duration in the file's header; 0 where FFmpeg only estimates it."""
    is_known = source.format.name.split(",")[0] in _WITH_DURATION
    return (source.duration or 0) / MICROSECONDS if is_known else 0


def _copies_video(stream: Any) -> bool:
    context = stream.codec_context
    return context.name in {"h264", "libx264"} and context.pix_fmt in _SHOWN_PIXELS


def _copies_audio(stream: Any) -> bool:
    return stream.codec_context is not None and stream.codec_context.name == "aac"


def _played_type(source: InputContainer, stream: Any) -> str | None:
    """The MIME type of a file that phones play as it is; None for others."""
    sound, brand = first_audio(source), brand_of(source)
    is_mp4 = source.format.name.startswith("mov") and brand not in {"", "qt"}
    if not is_mp4 or not _copies_video(stream) or (sound and not _copies_audio(sound)):
        return None
    return "video/3gpp" if brand.startswith("3g") else "video/mp4"


def _seconds(source: InputContainer, stream: Any) -> float:
    """Where the last picture ends: the file is read to its end."""
    end = max(p.pts + (p.duration or 0) for p in source.demux(stream) if p.pts is not None)
    return float((end - (stream.start_time or 0)) * stream.time_base)


class _Conversion:
    """Copies or encodes the first video and the first sound of `source`."""

    def __init__(self, source: InputContainer, target: OutputContainer, look: _Look) -> None:
        self._source, self._target, self._look = source, target, look
        self._stream, self._sound = first_video(source), first_audio(source)
        self._end, self._pts = 0.0, -1
        is_copied = source.format.name.split(",")[0] in _COPIED_FROM
        self._video: Any = None
        self._audio: Any = None
        self._encoder: AudioEncoder | None = None
        self._graph: av.filter.Graph | None = None
        if is_copied and _copies_video(self._stream):
            self._video = target.add_stream_from_template(self._stream)
        else:
            self._video, self._graph = self._video_encoder()
        if self._sound is None or self._sound.codec_context is None:
            return
        if is_copied and _copies_audio(self._sound):
            self._audio = target.add_stream_from_template(self._sound)
        else:
            layout = "mono" if self._sound.channels == 1 else "stereo"
            self._encoder = AudioEncoder(
                target, "aac", rate=_AUDIO_RATE, layout=layout, b=_AUDIO_BITS
            )

    def run(self) -> float:
        """Convert everything; return the seconds of the video."""
        sounds = self._audio is not None or self._encoder is not None
        streams = [self._stream, self._sound] if sounds else [self._stream]
        for packet in self._source.demux(streams):
            if packet.stream is self._stream:
                self._pass_video(packet)
            elif self._encoder is not None:
                for frame in packet.decode():
                    self._encoder.encode(frame)
            elif packet.dts is not None:
                packet.stream = self._audio
                self._target.mux(packet)
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
            self._target.mux(self._video.encode(None))
        if self._encoder is not None:
            self._encoder.encode(None)
        return self._end - float((self._stream.start_time or 0) * self._stream.time_base)

    def _pass_video(self, packet: Any) -> None:
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._end = max(self._end, end)
        if self._graph is not None:
            for frame in packet.decode():
                self._graph.push(frame)
                self._pull()
        elif packet.dts is not None:
            packet.stream = self._video
            self._target.mux(packet)

    def _pull(self) -> None:
        """Encode what the filters have ready."""
        assert self._graph is not None
        while True:
            try:
                frame: Any = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            if frame.pts is None or frame.pts <= self._pts:  # AVI has no times with B-frames
                frame.pts = self._pts + 1
            self._pts, frame.pict_type = frame.pts, 0
            self._target.mux(self._video.encode(frame))

    def _video_encoder(self) -> tuple[Any, av.filter.Graph]:
        share = min(1.0, LONGEST_SIDE / max(self._look.width, self._look.height))
        width = max(2, round(self._look.width * share / 2) * 2)
        height = max(2, round(self._look.height * share / 2) * 2)
        rate = self._stream.average_rate or Fraction(25)
        encoder: Any = self._target.add_stream(
            "libx264", rate=rate, options={"preset": "veryfast", "crf": "24"}
        )
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.codec_context.time_base = self._stream.time_base
        turn = _TURNS.get(self._look.turn)
        graph = av.filter.Graph()
        steps = [graph.add_buffer(template=self._stream)]
        for step in (*(turn.split(",") if turn else ()), f"scale={width}:{height}", "setsar=1",
                     "format=yuv420p"):  # fmt: skip
            name, _, arguments = step.partition("=")
            steps.append(graph.add(name, arguments) if arguments else graph.add(name))
        steps.append(graph.add("buffersink"))
        graph.link_nodes(*steps).configure()
        return encoder, graph
