"""The stand-in as a whole: TLS server, proxy, and the environment that leads the engine to it."""

import os
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.whatsapp.accounts import Directory
from tests.whatsapp.authority import Authority
from tests.whatsapp.contact import Contact, Network
from tests.whatsapp.groups import Group
from tests.whatsapp.link_code import LinkCodeDesk
from tests.whatsapp.media import LARGEST_UPLOAD_BYTES, MediaStore
from tests.whatsapp.noise import ServerIdentity
from tests.whatsapp.pairing import PairingDesk
from tests.whatsapp.phone import Phone
from tests.whatsapp.post import AcceptedMessage, PostOffice
from tests.whatsapp.proxy import Proxy
from tests.whatsapp.queries import Queries
from tests.whatsapp.reception import Reception
from tests.whatsapp.refusals import Refusals
from tests.whatsapp.waiting import Changes

_LOOPBACK = "127.0.0.1"
_ENGINE_DIRECTORY = Path(__file__).parent / "engine"
ROOT_KEY_VARIABLE = "PYTHON_WHATSAPP_STAND_IN_ROOT_KEY"
"""Workers inherit variables of Python's, and no others of the host."""
"""Read by `engine/sitecustomize.py`."""


class StandIn:
    """A WhatsApp Web server on loopback, for the unchanged engine. Get one from `start`."""

    def __init__(
        self,
        network: Network,
        post: PostOffice,
        proxy: Proxy,
        authority: Authority,
        identity: ServerIdentity,
    ) -> None:
        self._network = network
        self._post = post
        self._proxy = proxy
        self._authority = authority
        self._identity = identity
        self._phones: dict[str, Phone] = {}
        self._contacts: dict[str, Contact] = {}

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["StandIn"]:
        """Serve on free ports of 127.0.0.1, in the running event loop, until the exit."""
        changes, directory, media = Changes(), Directory(), MediaStore()
        pairing = PairingDesk()
        network = Network(directory, pairing, LinkCodeDesk(pairing), media, changes)
        post = PostOffice(directory, media, changes)
        identity = ServerIdentity.generate()
        reception = Reception(
            identity=identity,
            directory=directory,
            pairing=pairing,
            link_codes=network.link_codes,
            queries=Queries(directory, changes),
            post=post,
            changes=changes,
        )
        async with AsyncExitStack() as stack:
            authority = stack.enter_context(Authority())
            port = await _serve_tls(stack, authority, reception, media)
            proxy = Proxy(_LOOPBACK, port)
            await proxy.start()
            stack.push_async_callback(proxy.stop)
            yield cls(network, post, proxy, authority, identity)

    @property
    def messages(self) -> list[AcceptedMessage]:
        """Every message that any companion sent and the server took, in order of arrival."""
        return self._post.messages

    def engine_environment(self) -> dict[str, str]:
        """What to add to the environment of the process that loads the engine.

        It must be there when that process starts: Go does not see later changes.
        """
        inherited = os.environ.get("PYTHONPATH")
        paths = [str(_ENGINE_DIRECTORY), *([inherited] if inherited else [])]
        return {
            "HTTPS_PROXY": self._proxy.url,
            "SSL_CERT_FILE": str(self._authority.certificate_file),
            "PYTHONPATH": os.pathsep.join(paths),
            ROOT_KEY_VARIABLE: self._identity.root_public.hex(),
        }

    @asynccontextmanager
    async def another_proxy(self) -> AsyncIterator[Proxy]:
        """A proxy of the user's own, which leads here too."""
        proxy = Proxy(_LOOPBACK, self._proxy.leads_to)
        await proxy.start()
        yield proxy
        await proxy.stop()

    def certify(self, host: str) -> ssl.SSLContext:
        """TLS settings of a server for that host name, which the engine's environment trusts."""
        return self._authority.server_context(host)

    def phone(self, number: str) -> Phone:
        """The phone of that number (digits with country code), registered if it is new."""
        if number not in self._phones:
            self._phones[number] = Phone(self._network, self._network.directory.register(number))
        return self._phones[number]

    def contact(self, number: str) -> Contact:
        """The contact of that number (digits with country code), registered if it is new."""
        if number not in self._contacts:
            account = self._network.directory.register(number)
            self._contacts[number] = Contact(self._network, account)
        return self._contacts[number]

    def group(
        self,
        subject: str,
        *members: str,
        admins: tuple[str, ...] = (),
        is_announcement: bool = False,
    ) -> str:
        """A new group of these numbers; returns its JID."""
        register, groups = self._network.directory.register, self._network.directory.groups
        id_ = str(120_363_000_000_000_100 + len(groups))
        groups[id_] = Group(
            id_,
            subject,
            tuple(map(register, members)),
            tuple(map(register, admins)),
            is_announcement,
        )
        return f"{id_}@g.us"

    @property
    def numbers_asked_about(self) -> list[str]:
        """The numbers of which an engine asked whether they are on WhatsApp, in order."""
        return self._network.directory.asked_about

    @property
    def refusals(self) -> Refusals:
        """What WhatsApp refuses now."""
        return self._network.directory.refusals

    @property
    def client_versions(self) -> list[str]:
        """The version of each client that said hello, in order."""
        return self._network.directory.clients

    @property
    def refused_uploads(self) -> deque[int]:
        """Statuses of the next uploads; 0 cuts the connection."""
        return self._network.media.refused_uploads

    def forget_media(self) -> None:
        """Let the media server keep no file any more."""
        self._network.media.forget()

    def offline(self) -> None:
        """Break every connection, and let nobody connect until `online`."""
        self._proxy.is_open = False
        self._proxy.hang_up()

    def online(self) -> None:
        """Let clients connect again."""
        self._proxy.is_open = True


async def _serve_tls(
    stack: AsyncExitStack, authority: Authority, reception: Reception, media: MediaStore
) -> int:
    """Serve the websocket and the media on one port, and return it."""
    app = web.Application(client_max_size=LARGEST_UPLOAD_BYTES)
    app.add_routes([web.get("/ws/chat", reception.receive), *media.routes()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, _LOOPBACK, 0, ssl_context=authority.server_context()).start()
    port: int = runner.addresses[0][1]
    return port
