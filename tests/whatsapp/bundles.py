"""Prekeys and prekey bundles as stanzas carry them.

Source: the engine's `prekeys.go`.
"""

from tests.whatsapp.nodes import Node
from tests.whatsapp.signal_protocol import PrekeyBundle, PublicPrekey

_KEY_TYPE = b"\x05"


def read_prekey(node: Node) -> PublicPrekey:
    """Read a `<key>` or, with its signature, a `<skey>`."""
    signature = node.child("signature")
    return PublicPrekey(
        int.from_bytes(node.need("id").data),
        node.need("value").data,
        signature.data if signature else b"",
    )


def bundle_nodes(bundle: PrekeyBundle) -> list[Node]:
    """A prekey bundle as senders read it."""
    nodes = [
        Node("registration", content=bundle.registration_id.to_bytes(4)),
        Node("type", content=_KEY_TYPE),
        Node("identity", content=bundle.identity),
        _prekey_node("skey", bundle.signed),
    ]
    if bundle.one_time is not None:
        nodes.append(_prekey_node("key", bundle.one_time))
    return nodes


def _prekey_node(tag: str, prekey: PublicPrekey) -> Node:
    parts = [Node("id", content=prekey.id.to_bytes(3)), Node("value", content=prekey.public)]
    if prekey.signature:
        parts.append(Node("signature", content=prekey.signature))
    return Node(tag, content=parts)
