"""What companions ask the server: prekeys, users and devices, media hosts.

Source: the engine's `prekeys.go`, `user.go`, `mediaconn.go` and `client.go` (log-out).
"""

from tests.whatsapp.accounts import Account, Companion, Directory
from tests.whatsapp.bundles import bundle_nodes, read_prekey
from tests.whatsapp.groups import Group
from tests.whatsapp.media import MEDIA_HOST
from tests.whatsapp.nodes import SERVER_JID, Attributes, Jid, MalformedNode, Node
from tests.whatsapp.refusals import QueryRefusal, asked_number
from tests.whatsapp.waiting import Changes

_MEDIA_LIFE_SECONDS = "3600"


def result(query: Node, content: list[Node] | None = None) -> Node:
    """The answer to an `<iq>` that worked."""
    attrs: Attributes = {"from": SERVER_JID, "type": "result", "id": query.text("id")}
    return Node("iq", attrs, content)


class Queries:
    """Answers the queries of logged-in companions; an unknown one gets an empty result."""

    def __init__(self, directory: Directory, changes: Changes) -> None:
        self._directory = directory
        self._changes = changes

    async def answer(self, account: Account, device: Companion, query: Node) -> None:
        """Answer one `<iq>` of this device."""
        refusal = self._directory.refusals.of_query(query) or self._of_keys(query)
        if refusal is not None:
            answer = refusal.answer(query)
            if answer is not None and device.link is not None:
                await device.link.send(answer)
            return
        content: list[Node] | None = None
        match query.text("xmlns"), query.text("type"):
            case "encrypt", "get" if query.child("count"):
                content = [Node("count", {"value": str(len(device.one_time_prekeys))})]
            case "encrypt", "get":
                content = [Node("list", content=self._bundles(query.need("key")))]
            case "encrypt", "set":
                _keep_prekeys(device, query)
            case "usync", "get":
                content = [self._usync(query.need("usync"))]
            case "w:g2", "get":
                content = [self._groups(query, account)]
            case "w:m", "set":
                content = [_media_hosts()]
            case "md", "set" if query.child("remove-companion-device"):
                account.companions.pop(device.device, None)
                self._changes.announce()
        if device.link is not None:
            await device.link.send(result(query, content))
        if query.text("xmlns") == "passive" and query.child("active"):
            await device.activate()

    def _of_keys(self, query: Node) -> QueryRefusal | None:
        wanted = query.child("key") if query.text("xmlns") == "encrypt" else None
        users = [] if wanted is None else wanted.children
        accounts = [self._directory.find(user.jid("jid")) for user in users]
        refused = self._directory.refusals.keys
        return next(
            (refused[one.number] for one in accounts if one and one.number in refused), None
        )

    def _groups(self, query: Node, member: Account) -> Node:
        """One group, or all that the account is in. An unknown one has it as its only member."""
        groups = self._directory.groups
        if query.child("participating") is not None:
            found = [one.node() for one in groups.values() if member in one.members]
            return Node("groups", content=found)
        id_ = query.jid("to").user
        return groups.get(id_, Group(id_, "A group", (member,))).node()

    def _bundles(self, users: Node) -> list[Node]:
        nodes = []
        for user in users.children:
            jid = user.jid("jid")
            account = self._directory.find(jid)
            keyless = account is None or account.number in self._directory.refusals.keyless
            bundle = None if account is None or keyless else account.bundle(jid.device)
            if bundle is None:
                missing = Node("error", {"code": "404", "text": "item-not-found"})
                nodes.append(Node("user", {"jid": jid}, [missing]))
            else:
                nodes.append(Node("user", {"jid": jid}, bundle_nodes(bundle)))
        return nodes

    def _usync(self, usync: Node) -> Node:
        wanted = {part.tag for part in usync.need("query").children}
        malformed = self._directory.refusals.malformed
        asked = [one for one in usync.need("list").children if asked_number(one) not in malformed]
        users = [self._user(user, wanted) for user in asked]
        return Node("usync", content=[Node("list", content=users)])

    def _user(self, user: Node, wanted: set[str]) -> Node:
        contact = user.child("contact")
        if contact is not None:
            number = contact.data.decode().partition("@")[0].removeprefix("+")
            return self._contact(contact, number)
        jid = user.jid("jid")
        account = self._directory.find(jid)
        parts = []
        if account is not None and "devices" in wanted:
            devices = [Node("device", {"id": str(number)}) for number in account.devices]
            parts.append(Node("devices", content=[Node("device-list", content=devices)]))
        hidden = self._directory.refusals.without_address
        if account is not None and "lid" in wanted and account.number not in hidden:
            parts.append(Node("lid", {"val": account.lid_jid}))
        return Node("user", {"jid": jid}, parts)

    def _contact(self, contact: Node, number: str) -> Node:
        """Whether a number is on WhatsApp; the client finds its question in the content.

        The address in the answer is the account's own, however the number was written.
        """
        account = self._directory.whose(number)
        found = Node("contact", {"type": "in" if account else "out"}, contact.data)
        if account is None:
            return Node("user", {"jid": Jid(number)}, [found])
        if account.number in self._directory.refusals.without_address:
            return Node("user", {"jid": account.phone_jid}, [found])
        return Node("user", {"jid": account.lid_jid, "pn_jid": account.phone_jid}, [found])


def _keep_prekeys(device: Companion, query: Node) -> None:
    if query.need("identity").data != device.identity:
        raise MalformedNode("prekeys of another identity than was linked")
    device.one_time_prekeys.extend(read_prekey(key) for key in query.need("list").children)
    device.signed_prekey = read_prekey(query.need("skey"))


def _media_hosts() -> Node:
    life = {"ttl": _MEDIA_LIFE_SECONDS, "auth_ttl": _MEDIA_LIFE_SECONDS, "max_buckets": "12"}
    return Node("media_conn", {"auth": "auth", **life}, [Node("host", {"hostname": MEDIA_HOST})])
