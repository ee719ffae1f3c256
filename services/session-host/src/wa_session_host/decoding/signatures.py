"""What a file is, by its first bytes: pictures by name, all others by MIME type."""

from pathlib import Path

HEAD_BYTES = 4096
PICTURES = frozenset({"JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "HEIC", "AVIF"})
"""Pictures that are opened."""
OTHER_PICTURES = frozenset({"SVG", "JPEG XL", "JPEG 2000", "PSD", "EPS", "ICO"})
"""Pictures without a decoder here: drawn by programs, or by libraries that are rarely reviewed."""

TEXT, HTML, UNKNOWN = "text/plain", "text/html", "application/octet-stream"
NO_MEDIA = frozenset({TEXT, HTML, UNKNOWN, "application/pdf", "application/zip"})

_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "PSD"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"\0\0\x01\0", "ICO"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "video/x-matroska"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR", "audio/amr"),
    (b"PK\x03\x04", "application/zip"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"), "HEIC"),
    **dict.fromkeys((b"msf1", b"heif"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"qt  ": "video/quicktime",
}
_RIFF = {b"WEBP": "WEBP", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_QUICKTIME_BOXES = frozenset({b"wide", b"mdat", b"moov", b"skip", b"free", b"pnot"})


def form_of(path: Path) -> str:
    """A picture's name, or the MIME type of another file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for start, form in _STARTS:
        if head.startswith(start):
            return form
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[4:8] in _QUICKTIME_BOXES:
        return "video/quicktime"
    return _of_text(head)


def _of_brands(head: bytes) -> str:
    """ISO base media: the major brand decides, then the compatible ones."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[at : at + 4] for at in (8, *range(16, min(size, len(head)), 4))]
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "video/mp4")


def _of_text(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in head:
        return "SVG"
    if text[:15].lower().startswith((b"<!doctype html", b"<html")):
        return HTML
    if head and all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head):
        return TEXT
    return UNKNOWN
