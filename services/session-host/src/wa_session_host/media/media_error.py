"""Why media cannot be sent."""


class MediaError(Exception):
    """The media cannot be sent: `media_unavailable`, `_too_large`, `_invalid`, `_refused`.

    `may_pass`: it may work later.
    """

    def __init__(self, code: str, message: str, *, may_pass: bool = False) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code
        self.may_pass = may_pass
