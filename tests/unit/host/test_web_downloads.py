"""Media from the web: the address as it was given, the file's name, certificates."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wa_contracts.internal.commands import MessageType
from wa_runtime.media_store.store import MediaStore
from wa_session_host.domain.message import Content
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media.conversion import Converter
from wa_session_host.media.fetching import MediaFetcher
from wa_session_host.media.media_error import MediaError
from wa_session_host.media.web_downloads import as_given

PDF = b"%PDF-1.7 x"


class Server:
    """Answers every path with what is set; `asked` has the requests as they came."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[str] = []
        self.agents: list[str] = []
        self.headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.data = PDF

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        self.agents.append(request.headers["User-Agent"])
        if (to := self.redirects.get(request.path)) is not None:
            return web.Response(status=302, headers={"Location": to})
        return web.Response(body=self.data, headers=self.headers)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on loopback."""
    server, app = Server(), web.Application()
    app.router.add_get("/{name:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    server.address = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


async def fetched(
    tmp_path: Path, url: str, *, file_name: str | None = None, ca_file: Path | None = None
) -> tuple[str | None, str]:
    """Name and type of the document that goes out."""
    start = SimulatedEngines(Script()).start_decoder
    fetcher = MediaFetcher(
        media_root=tmp_path,
        spool=tmp_path / "spool",
        max_bytes=1000,
        allowed_hosts={"127.0.0.1"},
        converter=Converter(start, spool=tmp_path, max_bytes=1000),
        store=MediaStore(tmp_path.as_uri()),
        ca_file=ca_file,
    )
    content = Content(media_url=url, file_name=file_name)
    async with fetcher.ready(MessageType.DOCUMENT, content) as media:
        assert media is not None
        return media.file_name, media.mime_type


@pytest.mark.parametrize(
    "path",
    [
        "/signed?sig=a%2Fb%3D&ct=application%2Fpdf&at=%40",
        "/a/../b/./c%2e%2E?x=1+2&y=%7E~",
        "/%e6%9d%b1?empty=&&=",
        "/semi;colon=1/@x:y,z!$&'()*",
    ],
)
async def test_an_address_is_requested_as_it_was_given(
    tmp_path: Path, server: Server, path: str
) -> None:
    await fetched(tmp_path, server.address + path)
    assert server.asked == [path]
    assert "aiohttp" not in server.agents[0]


def test_what_no_request_may_have_is_escaped() -> None:
    assert (
        str(as_given("https://host/東 京?q=é%2F"))
        == "https://host/%E6%9D%B1%20%E4%BA%AC?q=%C3%A9%2F"
    )
    assert as_given("https://bücher.example/x").host_subcomponent == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("given", "disposition", "name"),
    [
        ("/download?id=1", 'attachment; filename="invoice 7.pdf"', "invoice 7.pdf"),
        ("/download?id=1", "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.pdf", "Größe.pdf"),
        ("/download?id=1", 'attachment; filename="../../etc/pass\\\\wd"', "wd.pdf"),
        ("/download?id=1", "", "download.pdf"),
        ("/report.txt", "", "report.txt"),
        ("/", "", "document.pdf"),
        ("/moved/monthly%20report", "", "monthly report.pdf"),
    ],
)
async def test_a_document_has_the_best_name_there_is(
    tmp_path: Path, server: Server, given: str, disposition: str, name: str
) -> None:
    server.redirects["/moved/monthly report"] = "/2e65efe2-a145-4dda"
    if disposition:
        server.headers["Content-Disposition"] = disposition
    assert await fetched(tmp_path, server.address + given) == (name, "application/pdf")
    own = await fetched(tmp_path, server.address + given, file_name="own")
    assert own == ("own.pdf", "application/pdf")


async def test_the_servers_type_decides_where_content_and_name_do_not(
    tmp_path: Path, server: Server
) -> None:
    server.data = bytes([0, 1, 2, 3])
    server.headers["Content-Type"] = "application/vnd.ms-outlook"
    assert (await fetched(tmp_path, f"{server.address}/mail"))[1] == "application/vnd.ms-outlook"
    assert (await fetched(tmp_path, f"{server.address}/a.epub"))[1] == "application/epub+zip"


def certificate(folder: Path, *, days: int) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


@pytest.mark.parametrize(("days", "says"), [(30, "self-signed certificate"), (-1, "has expired")])
async def test_an_invalid_certificate_is_named(tmp_path: Path, days: int, says: str) -> None:
    public, private = certificate(tmp_path, days=days)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(public, private)
    async with serving(tls) as server:
        with pytest.raises(MediaError, match="no valid certificate") as raised:
            await fetched(tmp_path, f"{server.address}/a.pdf", ca_file=public if days < 0 else None)
        assert raised.value.code == "media_unavailable"
        assert says in str(raised.value)
        if days > 0:
            found = await fetched(tmp_path, f"{server.address}/a.pdf", ca_file=public)
            assert found == ("a.pdf", "application/pdf")
