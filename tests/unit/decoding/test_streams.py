"""Audio, voice notes and videos: what every container becomes."""

import io
from base64 import b64decode
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.unit.decoding.samples import PICTURE, TONE, ffmpeg
from wa_session_host.decoding.outcome import Refused
from wa_session_host.decoding.sounds import VOICE_TYPE, audio, voice
from wa_session_host.decoding.videos import video

PIXELS = 50_000_000
YUV = ("-pix_fmt", "yuv420p")
H264 = ("-c:v", "libx264", *YUV)


def streams_of(path: Path) -> tuple[str, list[str], float]:
    """A file's container, codecs and duration in seconds."""
    with av.open(str(path)) as container:
        codecs = [stream.codec_context.name for stream in container.streams]
        return container.format.name.split(",")[0], codecs, (container.duration or 0) / 1_000_000


SOUNDS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "mp3": ((), "audio/mpeg"),
    "m4a": ((), "audio/mp4"),
    "aac": ((), "audio/aac"),
    "amr": (("-ar", "8000", "-ac", "1"), "audio/amr"),
    "opus": (("-c:a", "libopus"), VOICE_TYPE),
    "wav": ((), None),
    "flac": ((), None),
    "ogg": (("-c:a", "libvorbis"), None),
    "wma": ((), None),
    "aiff": ((), None),
    "caf": ((), None),
    "webm": (("-c:a", "libopus"), None),
    "mka": (("-c:a", "flac"), None),
}
"""By extension: how it is made, and its type if phones play it as it is."""


@pytest.mark.parametrize("form", SOUNDS)
def test_audio_is_what_phones_play(tmp_path: Path, form: str) -> None:
    options, as_it_is = SOUNDS[form]
    path = ffmpeg(tmp_path / f"in.{form}", *TONE, *options)
    answer = audio(path, tmp_path / "out")
    assert answer.seconds == 2
    if as_it_is is not None:
        assert (answer.is_new, answer.mime_type) == (False, as_it_is)
        return
    assert (answer.is_new, answer.mime_type) == (True, "audio/mp4")
    container, codecs, seconds = streams_of(tmp_path / "out")
    assert (container, codecs) == ("mov", ["aac"])
    assert seconds == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("form", SOUNDS)
def test_a_voice_note_is_opus_in_mono_with_a_waveform(tmp_path: Path, form: str) -> None:
    options, _ = SOUNDS[form]
    quiet_then_loud = ("-af", "volume='if(lt(t,1),0.05,1)':eval=frame")
    path = ffmpeg(tmp_path / f"in.{form}", *TONE, *quiet_then_loud, *options)
    answer = voice(path, tmp_path / "out")
    assert (answer.mime_type, answer.seconds) == (VOICE_TYPE, 2)
    with av.open(str(tmp_path / "out" if answer.is_new else path)) as container:
        (stream,) = container.streams.audio
        assert (container.format.name, stream.codec_context.name) == ("ogg", "opus")
        assert stream.channels == 1
    waveform = b64decode(answer.waveform or "")
    assert len(waveform) == 64
    assert max(waveform) == 100
    assert max(waveform[:25]) < 30 < min(waveform[40:60])


def test_a_voice_note_in_stereo_is_mixed_and_one_that_fits_is_kept(tmp_path: Path) -> None:
    stereo = ffmpeg(tmp_path / "stereo.ogg", *TONE, "-ac", "2", "-c:a", "libopus")
    assert voice(stereo, tmp_path / "out").is_new
    assert not voice(tmp_path / "out", tmp_path / "again").is_new


def test_a_shorter_sound_than_the_waveform_has_values(tmp_path: Path) -> None:
    tiny = ffmpeg(tmp_path / "in.wav", *TONE, "-t", "0.05")
    answer = voice(tiny, tmp_path / "out")
    assert answer.seconds == 1
    assert len(b64decode(answer.waveform or "")) == 64


VIDEOS: dict[str, tuple[tuple[str, ...], bool]] = {
    "h264.mp4": (H264, True),
    "silent.mp4": ((*H264, "-an"), True),
    "phone.3gp": ((*H264, "-ar", "8000", "-ac", "1", "-c:a", "aac"), True),
    "h264.mov": (H264, False),
    "pcm.mov": ((*H264, "-c:a", "pcm_s16be"), False),
    "prores.mov": (("-c:v", "prores_ks"), False),
    "hevc.mp4": (("-c:v", "libx265", "-x265-params", "log-level=none", *YUV), False),
    "h264.mkv": (H264, False),
    "opus.mkv": ((*H264, "-c:a", "libopus"), False),
    "vp9.webm": (YUV, False),
    "h264.avi": ((*H264, "-c:a", "mp3"), False),
    "mpeg4.avi": (YUV, False),
    "flv1.flv": (YUV, False),
    "h264.ts": (H264, False),
    "mpeg1.mpg": (YUV, False),
    "wmv2.wmv": (YUV, False),
    "high.mp4": (("-c:v", "libx264", "-pix_fmt", "yuv444p"), False),
    "moving.gif": (("-an",), False),
}
"""By name: how it is made, and whether phones play it as it is."""


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_what_phones_play(tmp_path: Path, name: str) -> None:
    options, as_it_is = VIDEOS[name]
    path = ffmpeg(tmp_path / name, *PICTURE, *TONE, *options, "-t", "2")
    answer = video(path, tmp_path / "out", PIXELS)
    assert answer.is_new is not as_it_is
    assert answer.mime_type == ("video/3gpp" if name.endswith("3gp") else "video/mp4")
    assert (answer.width, answer.height, answer.seconds) == (320, 240, 2)
    assert Image.open(io.BytesIO(b64decode(answer.thumbnail or ""))).size == (72, 54)
    container, codecs, seconds = streams_of(tmp_path / "out" if answer.is_new else path)
    assert container == "mov"
    assert codecs == (["h264"] if "-an" in options else ["h264", "aac"])
    assert seconds == pytest.approx(2, abs=0.2)


def test_camera_files_of_other_brands_are_videos(tmp_path: Path) -> None:
    """Libmagic calls both application/octet-stream."""
    made = ffmpeg(tmp_path / "a.mp4", *PICTURE, *H264, "-movflags", "faststart").read_bytes()
    for name, data in (
        ("sony", made.replace(b"ftypisom", b"ftypXAVC", 1)),
        ("wide", b"\0\0\0\x08wide" + made[int.from_bytes(made[:4], "big") :]),
    ):
        (tmp_path / name).write_bytes(data)
    assert not video(tmp_path / "sony", tmp_path / "out", PIXELS).is_new
    with pytest.raises(Refused):  # moving its boxes has broken its offsets
        video(tmp_path / "wide", tmp_path / "out", PIXELS)
    old = ffmpeg(tmp_path / "old.mov", *PICTURE, *H264, "-movflags", "empty_moov+omit_tfhd_offset")
    old.write_bytes(b"\0\0\0\x08wide" + old.read_bytes())
    assert video(old, tmp_path / "out", PIXELS).mime_type == "video/mp4"


@pytest.mark.parametrize("form", ["mov", "mkv"])
def test_a_turned_video_has_the_size_that_is_shown(tmp_path: Path, form: str) -> None:
    options = H264 if form == "mov" else ("-c:v", "libx265", "-x265-params", "log-level=none")
    straight = ffmpeg(tmp_path / f"a.{form}", *PICTURE, *options)
    turned = tmp_path / "b.mov"
    ffmpeg(turned, "-display_rotation", "90", "-i", str(straight), "-c", "copy")
    answer = video(turned, tmp_path / "out", PIXELS)
    assert (answer.width, answer.height) == (240, 320)
    assert Image.open(io.BytesIO(b64decode(answer.thumbnail or ""))).size == (54, 72)
    with av.open(str(tmp_path / "out")) as container:
        frame = next(container.decode(container.streams.video[0]))
        size = (frame.width, frame.height) if frame.rotation % 180 == 0 else (240, 320)
        assert size == (240, 320)


def test_a_large_video_that_is_encoded_again_becomes_smaller(tmp_path: Path) -> None:
    large = ("-f", "lavfi", "-i", "testsrc=s=1920x1080:d=0.2")
    path = ffmpeg(tmp_path / "a.webm", *large, "-deadline", "realtime", "-cpu-used", "8")
    answer = video(path, tmp_path / "out", PIXELS)
    with av.open(str(tmp_path / "out")) as container:
        assert container.streams.video[0].width == 1280
    assert answer.is_new


@pytest.mark.parametrize("name", ["a.mp4", "b.mov", "c.mkv", "d.webm", "e.avi", "f.ts", "g.flv"])
def test_a_damaged_video_is_refused(tmp_path: Path, name: str) -> None:
    path = ffmpeg(tmp_path / name, *PICTURE, *YUV)
    head = path.read_bytes()[:600]
    path.write_bytes(head + bytes(5000))
    with pytest.raises(Refused, match=r"cannot be decoded|not of type") as raised:
        video(path, tmp_path / "out", PIXELS)
    assert raised.value.code == "media_invalid"


def test_a_video_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = ffmpeg(tmp_path / "a.mp4", *PICTURE, *H264, "-movflags", "faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Refused, match="damaged or incomplete"):
        video(path, tmp_path / "out", PIXELS)


@pytest.mark.parametrize("name", ["a.mp3", "b.m4a", "c.ogg", "d.wav", "e.flac", "f.amr"])
@pytest.mark.parametrize("convert", [audio, voice])
def test_damaged_sound_is_refused(tmp_path: Path, name: str, convert: object) -> None:
    path = ffmpeg(tmp_path / name, *TONE, "-ar", "8000", "-ac", "1")
    path.write_bytes(path.read_bytes()[:20])
    assert callable(convert)
    with pytest.raises(Refused) as raised:
        convert(path, tmp_path / "out")
    assert raised.value.code == "media_invalid"


def test_what_has_no_sound_or_no_pictures_is_refused(tmp_path: Path) -> None:
    silent = ffmpeg(tmp_path / "a.mp4", *PICTURE, *H264)
    with pytest.raises(Refused, match="not of type audio: it has no sound"):
        audio(silent, tmp_path / "out")
    with pytest.raises(Refused, match="not of type voice: it has no sound"):
        voice(silent, tmp_path / "out")
    heard = ffmpeg(tmp_path / "a.mp3", *TONE)
    with pytest.raises(Refused, match="not of type video: it has no pictures"):
        video(heard, tmp_path / "out", PIXELS)


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    secret = ffmpeg(tmp_path / "secret.mp3", *TONE)
    for name, text in (
        ("a.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n"),
        ("b.txt", f"ffconcat version 1.0\nfile {secret}\n"),
        ("c.sdp", "v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(Refused, match="its content is text/plain"):
            audio(tmp_path / name, tmp_path / "out")


def test_the_sound_of_a_video_is_sent_without_its_pictures(tmp_path: Path) -> None:
    path = ffmpeg(tmp_path / "a.mp4", *PICTURE, *TONE, *H264)
    answer = audio(path, tmp_path / "out")
    assert (answer.mime_type, streams_of(tmp_path / "out")[1]) == ("audio/mp4", ["aac"])
