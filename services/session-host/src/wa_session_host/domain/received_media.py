"""What only the owner knows of an incoming message's media: stored beside it, never published."""

from wa_contracts.wire import Wire


class ReceivedMedia(Wire):
    """Where WhatsApp keeps the encrypted media, and what opens it. Keys and hashes are base64.

    `size` is in bytes. It, the MIME type and the file name are the sender's word.
    """

    kind: str
    direct_path: str
    media_key: str
    sha256: str
    encrypted_sha256: str
    size: int
    mime_type: str
    file_name: str | None = None
