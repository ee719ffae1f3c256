"""Groups on the stand-in: who is in them, and who may write.

Source: the engine's `group.go`.
"""

from dataclasses import dataclass

from tests.whatsapp.accounts import Account
from tests.whatsapp.nodes import Attributes, Node


@dataclass(frozen=True)
class Group:
    """A group. `id` is the part before `@g.us`; in an announcement group only admins write."""

    id: str
    subject: str
    members: tuple[Account, ...]
    admins: tuple[Account, ...] = ()
    is_announcement: bool = False

    def node(self) -> Node:
        """As WhatsApp describes it."""
        attrs: Attributes = {
            "id": self.id,
            "subject": self.subject,
            "creation": "1",
            "creator": self.members[0].lid_jid,
            "addressing_mode": "lid",
            "size": str(len(self.members)),
        }
        members = [self._participant(one) for one in self.members]
        only_admins = [Node("announcement")] if self.is_announcement else []
        return Node("group", attrs, [*members, *only_admins])

    def _participant(self, member: Account) -> Node:
        attrs: Attributes = {"jid": member.lid_jid, "phone_number": member.phone_jid}
        role: Attributes = {"type": "admin"} if member in self.admins else {}
        return Node("participant", {**attrs, **role})
