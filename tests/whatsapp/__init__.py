"""A stand-in for WhatsApp Web: the unchanged engine links to it, sends and receives.

Source of the protocol: the engine itself, whatsmeow. Each module names the file it follows.
"""

from tests.whatsapp.contact import Contact
from tests.whatsapp.inbox import ReceivedMessage, ReceivedReceipt
from tests.whatsapp.link_code import PairingCodeInvalid
from tests.whatsapp.pairing import PairingRefused, QRInvalid
from tests.whatsapp.phone import Phone
from tests.whatsapp.post import AcceptedMessage
from tests.whatsapp.server import StandIn

__all__ = [
    "AcceptedMessage",
    "Contact",
    "PairingCodeInvalid",
    "PairingRefused",
    "Phone",
    "QRInvalid",
    "ReceivedMessage",
    "ReceivedReceipt",
    "StandIn",
]
