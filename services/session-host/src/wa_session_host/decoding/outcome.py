"""What a decoder makes of a file."""

import errno
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A file that phones show, and what WhatsApp is told about it.

    `is_new`: the converted file is at the request's `output`; otherwise the given file goes out as
    it is. `thumbnail` is base64 of a small JPEG, `waveform` base64 of 64 values from 0 to 100.
    """

    mime_type: str
    is_new: bool
    width: int | None = None
    height: int | None = None
    thumbnail: str | None = None
    seconds: int | None = None
    waveform: str | None = None
    is_animated: bool = False


class Refused(Exception):
    """The file is not sent. `code` is `media_invalid` or `media_too_large`."""

    def __init__(self, code: str, message: str) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code


def damaged(kind: str, form: str) -> Refused:
    """A file that does not decode."""
    message = f"The {kind} cannot be decoded: the {form} file is damaged or incomplete."
    return Refused("media_invalid", message)


def not_of_type(kind: str, form: str) -> Refused:
    """A file of another kind."""
    message = f"The media is not of type {kind}: its content is {form}."
    return Refused("media_invalid", message)


def too_many_pixels(kind: str, width: int, height: int, limit: int) -> Refused:
    """A picture beyond the limit."""
    message = f"The {kind} has {width} x {height} pixels; at most {limit:,} are sent."
    return Refused("media_too_large", message)


def is_too_large(error: Exception) -> bool:
    """Whether the converted file exceeded its limit."""
    return getattr(error, "errno", None) == errno.EFBIG


def too_large_output(kind: str) -> Refused:
    """A file that exceeds the limit once it is converted."""
    return Refused("media_too_large", f"The converted {kind} is larger than MEDIA_MAX_BYTES.")
