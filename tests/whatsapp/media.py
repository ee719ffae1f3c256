"""WhatsApp's media: the server that keeps encrypted files, and their encryption.

Source: the engine's `upload.go` and `download.go`.
"""

import base64
import hashlib
import os
from collections import deque
from dataclasses import dataclass

from aiohttp import web

from tests.whatsapp.primitives import decrypt_cbc, encrypt_cbc, hkdf, hmac_sha256

MEDIA_HOST = "mmg.whatsapp.net"
LARGEST_UPLOAD_BYTES = 128 * 1024 * 1024
_MAC_LENGTH = 10
_KEY_LABELS = {
    "image": b"WhatsApp Image Keys",
    "video": b"WhatsApp Video Keys",
    "audio": b"WhatsApp Audio Keys",
    "document": b"WhatsApp Document Keys",
    "sticker": b"WhatsApp Image Keys",
    "history": b"WhatsApp History Keys",
}


class CorruptMedia(ValueError):
    """A file on the media server is not the one that the message describes."""


@dataclass(frozen=True, slots=True)
class EncryptedMedia:
    """A file as it lies on the media server, and what a message must tell to open it."""

    direct_path: str
    media_key: bytes
    sha256: bytes
    encrypted_sha256: bytes
    length: int

    @property
    def url(self) -> str:
        """Where a client downloads it."""
        return f"https://{MEDIA_HOST}{self.direct_path}"


class MediaStore:
    """The media server's files, by path. Anyone who knows a path may read it."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self.refused_uploads: deque[int] = deque()
        """Statuses of the next uploads; 0 cuts the connection."""

    def routes(self) -> list[web.RouteDef]:
        """The HTTP requests that it answers."""
        return [
            web.post("/mms/{kind}/{token}", self._upload),
            web.get("/v/{name}", self._download),
        ]

    def put(self, kind: str, plaintext: bytes) -> EncryptedMedia:
        """Encrypt a file of that kind (`image`, `video`, `document` …) and keep it."""
        key = os.urandom(32)
        iv, cipher_key, mac_key = _keys(key, kind)
        ciphertext = encrypt_cbc(cipher_key, iv, plaintext)
        stored = ciphertext + hmac_sha256(mac_key, iv + ciphertext)[:_MAC_LENGTH]
        digest = hashlib.sha256(stored).digest()
        return EncryptedMedia(
            direct_path=self._keep(digest, stored),
            media_key=key,
            sha256=hashlib.sha256(plaintext).digest(),
            encrypted_sha256=digest,
            length=len(plaintext),
        )

    def forget(self) -> None:
        """Keep no file any more, as WhatsApp does after some weeks."""
        self._files.clear()

    def open(self, kind: str, media: EncryptedMedia) -> bytes:
        """Return the decrypted file; raises CorruptMedia if anything about it is wrong."""
        stored = self._files.get(media.direct_path.partition("?")[0])
        if stored is None:
            raise CorruptMedia(f"nothing was uploaded to {media.direct_path}")
        iv, cipher_key, mac_key = _keys(media.media_key, kind)
        ciphertext, mac = stored[:-_MAC_LENGTH], stored[-_MAC_LENGTH:]
        if hmac_sha256(mac_key, iv + ciphertext)[:_MAC_LENGTH] != mac:
            raise CorruptMedia("the MAC does not fit")
        plaintext = decrypt_cbc(cipher_key, iv, ciphertext)
        if hashlib.sha256(stored).digest() != media.encrypted_sha256:
            raise CorruptMedia("the encrypted file's hash differs from the message's")
        if hashlib.sha256(plaintext).digest() != media.sha256 or len(plaintext) != media.length:
            raise CorruptMedia("the file's hash or length differs from the message's")
        return plaintext

    def _keep(self, digest: bytes, stored: bytes) -> str:
        path = f"/v/{base64.urlsafe_b64encode(digest).decode().rstrip('=')}.enc"
        self._files[path] = stored
        return f"{path}?ccb=1"

    async def _upload(self, request: web.Request) -> web.Response:
        stored = await request.read()
        if self.refused_uploads:
            status = self.refused_uploads.popleft()
            if not status and request.transport is not None:
                request.transport.abort()
            return web.Response(status=status or 500)
        digest = hashlib.sha256(stored).digest()
        if base64.urlsafe_b64encode(digest).decode() != request.match_info["token"]:
            return web.json_response({"error": "hash mismatch"}, status=400)
        path = self._keep(digest, stored)
        answer = {"url": f"https://{MEDIA_HOST}{path}", "direct_path": path, "handle": "handle"}
        return web.json_response(answer)

    async def _download(self, request: web.Request) -> web.Response:
        stored = self._files.get(request.path)
        return web.Response(status=404) if stored is None else web.Response(body=stored)


def _keys(media_key: bytes, kind: str) -> tuple[bytes, bytes, bytes]:
    keys = hkdf(media_key, 112, info=_KEY_LABELS[kind])
    return keys[:16], keys[16:48], keys[48:80]
