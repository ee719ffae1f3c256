"""The binary XML that WhatsApp speaks: `Node`, `Jid`, and their encoding.

Strings are written raw, which every client reads; the token dictionary is needed only to read what
the client writes.
Source: the engine's `binary` package (decoder).
"""

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.whatsapp.tokens import double_byte_tokens, single_byte_tokens

PHONE_SERVER = "s.whatsapp.net"
LID_SERVER = "lid"

_COMPRESSED = 2
_DICTIONARY_0, _DICTIONARY_3 = 236, 239
_INTEROP_JID, _FACEBOOK_JID, _DEVICE_JID = 245, 246, 247
_LIST_EMPTY, _LIST_8, _LIST_16 = 0, 248, 249
_JID_PAIR, _HEX_8 = 250, 251
_BINARY_8, _BINARY_20, _BINARY_32, _NIBBLE_8 = 252, 253, 254, 255
_LID_DOMAIN = 1
_NIBBLES = "0123456789-."
_HEX = "0123456789ABCDEF"


def now_text() -> str:
    """The server's time as stanzas carry it: whole seconds since 1970."""
    return str(int(time.time()))


class MalformedNode(ValueError):
    """The client sent bytes that are not a node."""


@dataclass(frozen=True, slots=True)
class Jid:
    """An address: an account (`device` 0) or one of its linked devices."""

    user: str
    server: str = PHONE_SERVER
    device: int = 0

    @property
    def account(self) -> "Jid":
        """The same address without the device."""
        return Jid(self.user, self.server)

    def __str__(self) -> str:
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}" if self.user else self.server


SERVER_JID = Jid("")


Attributes = Mapping[str, str | Jid]


@dataclass(frozen=True)
class Node:
    """An XML element with either children or bytes inside."""

    tag: str
    attrs: Attributes = field(default_factory=dict)
    content: Sequence["Node"] | bytes | None = None

    @property
    def children(self) -> tuple["Node", ...]:
        """The child elements; empty if there are bytes or nothing inside."""
        if self.content is None or isinstance(self.content, bytes):
            return ()
        return tuple(self.content)

    @cached_property
    def data(self) -> bytes:
        """The bytes inside; empty if there are children or nothing inside."""
        return self.content if isinstance(self.content, bytes) else b""

    def child(self, tag: str) -> "Node | None":
        """The first child of that tag, if any."""
        return next((child for child in self.children if child.tag == tag), None)

    def need(self, *path: str) -> "Node":
        """The descendant at `path`; raises MalformedNode if one step is missing."""
        node = self
        for tag in path:
            step = node.child(tag)
            if step is None:
                raise MalformedNode(f"<{node.tag}> has no <{tag}>")
            node = step
        return node

    def text(self, name: str) -> str:
        """An attribute as text; empty if it is absent."""
        return str(self.attrs.get(name, ""))

    def jid(self, name: str) -> Jid:
        """An attribute as an address; raises MalformedNode if it is not one."""
        value = self.attrs.get(name)
        if isinstance(value, Jid):
            return value
        raise MalformedNode(f"<{self.tag}> has no address in {name}")

    def tags(self) -> Iterator[str]:
        """This element's tag and those of all its descendants, in document order."""
        yield self.tag
        for child in self.children:
            yield from child.tags()


def encode(node: Node) -> bytes:
    """Write a node as one uncompressed payload."""
    out = bytearray([0])
    _write_node(out, node)
    return bytes(out)


def decode(payload: bytes) -> Node:
    """Read one payload; raises MalformedNode if it is not a node."""
    if not payload:
        raise MalformedNode("empty payload")
    body = payload[1:]
    try:
        return _Reader(zlib.decompress(body) if payload[0] & _COMPRESSED else body).node()
    except (IndexError, UnicodeDecodeError, zlib.error) as error:
        raise MalformedNode(str(error)) from error


def _write_node(out: bytearray, node: Node) -> None:
    _write_list_size(out, 1 + 2 * len(node.attrs) + (node.content is not None))
    _write_bytes(out, node.tag.encode())
    for name, value in node.attrs.items():
        _write_bytes(out, name.encode())
        if isinstance(value, Jid):
            _write_jid(out, value)
        else:
            _write_bytes(out, value.encode())
    if isinstance(node.content, bytes):
        _write_bytes(out, node.content)
    elif node.content is not None:
        _write_list_size(out, len(node.content))
        for child in node.content:
            _write_node(out, child)


def _write_list_size(out: bytearray, size: int) -> None:
    if size < 256:
        out += bytes([_LIST_8, size])
    else:
        out.append(_LIST_16)
        out += size.to_bytes(2)


def _write_bytes(out: bytearray, data: bytes) -> None:
    if len(data) < 256:
        out += bytes([_BINARY_8, len(data)])
    elif len(data) < 1 << 20:
        out.append(_BINARY_20)
        out += len(data).to_bytes(3)
    else:
        out.append(_BINARY_32)
        out += len(data).to_bytes(4)
    out += data


def _write_jid(out: bytearray, jid: Jid) -> None:
    if jid.device:
        out += bytes([_DEVICE_JID, _LID_DOMAIN if jid.server == LID_SERVER else 0, jid.device])
        _write_bytes(out, jid.user.encode())
        return
    out.append(_JID_PAIR)
    if jid.user:
        _write_bytes(out, jid.user.encode())
    else:
        out.append(_LIST_EMPTY)
    _write_bytes(out, jid.server.encode())


class _Reader:
    """Reads values off one decompressed payload."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def node(self) -> Node:
        size = self._list_size(self._byte())
        tag = self._text()
        attrs: dict[str, str | Jid] = {}
        for _ in range((size - 1) // 2):
            name = self._text()
            value = self._value(self._byte())
            attrs[name] = value if isinstance(value, Jid) else _as_text(value)
        return Node(tag, attrs, self._content() if size % 2 == 0 else None)

    def _content(self) -> Sequence[Node] | bytes | None:
        kind = self._byte()
        if kind in (_LIST_8, _LIST_16):
            return tuple(self.node() for _ in range(self._list_size(kind)))
        value = self._value(kind)
        return str(value).encode() if isinstance(value, str | Jid) else value

    def _value(self, kind: int) -> str | bytes | Jid | None:
        match kind:
            case 0:
                return None
            case _ if kind < _DICTIONARY_0:
                return single_byte_tokens()[kind]
            case _ if kind <= _DICTIONARY_3:
                return double_byte_tokens()[kind - _DICTIONARY_0][self._byte()]
            case 247:
                domain, device = self._byte(), self._byte()
                return Jid(
                    self._text(), LID_SERVER if domain == _LID_DOMAIN else PHONE_SERVER, device
                )
            case 250:
                user = self._value(self._byte())
                return Jid("" if user is None else _as_text(user), self._text())
            case 251 | 255:
                return self._packed(_HEX if kind == _HEX_8 else _NIBBLES)
            case 252 | 253 | 254:
                return self._take(self._int({_BINARY_8: 1, _BINARY_20: 3, _BINARY_32: 4}[kind]))
            case _:
                raise MalformedNode(f"unknown value of kind {kind}")

    def _packed(self, alphabet: str) -> str:
        head = self._byte()
        packed = self._take(head & 0x7F).hex()
        if head >> 7:
            packed = packed[:-1]
        return "".join(alphabet[int(digit, 16)] for digit in packed)

    def _text(self) -> str:
        return _as_text(self._value(self._byte()))

    def _list_size(self, kind: int) -> int:
        match kind:
            case 0:
                return 0
            case 248:
                return self._byte()
            case 249:
                return self._int(2)
            case _:
                raise MalformedNode(f"a list cannot start with {kind}")

    def _int(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise MalformedNode("payload ends early")
        self._at += size
        return self._data[self._at - size : self._at]


def _as_text(value: str | bytes | Jid | None) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return "" if value is None else str(value)
