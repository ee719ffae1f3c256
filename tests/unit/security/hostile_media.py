"""Media addresses, paths and answers that attack, and what becomes of each."""

from dataclasses import dataclass

REFUSED, INVALID = "media_refused", "media_invalid"
AWAY, LARGE = "media_unavailable", "media_too_large"
PRIVATE, NO_URL, NOT_HTTP = "private or special", "is not a valid URL", "http or https"
MAX_BYTES = 20_000


@dataclass(frozen=True)
class Case:
    """One address. `{port}` is the crafted server's, which `good.test` (allowed) leads to."""

    address: str
    code: str | None
    says: str = ""
    at_once: bool = False

    def __str__(self) -> str:
        """For the test's name."""
        return ascii(self.address)[1:-1][:60]


def now(address: str, says: str) -> Case:
    """Refused by the api already."""
    return Case(address, REFUSED, says, at_once=True)


ADDRESSES = [
    now(f"http://{host}:{{port}}/picture", PRIVATE)
    for host in (
        *("127.0.0.1", "0x7f000001", "0x7f.0.0.1", "0X7F.1", "0177.0x0.1", "127.255.255.254"),
        *("0.0.0.0", "0x0", "localhost", "LOCALHOST", "localhost.", "any.localhost"),
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1"),
        *("169.254.169.254", "0xa9fea9fe", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
        *("192.0.2.1", "203.0.113.7"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[fe80::1]", "[fe80::1%25lo]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::ffff:0:0]"),
        *("[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]"),
        *("[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001:db8::1]", "[3fff::1]", "[100::1]"),
        *("[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[5f00::1]"),
    )
]


NUMBERS = [  # which the client's library does not take for addresses at all
    now(f"http://{host}:{{port}}/picture", NO_URL)
    for host in (
        *("127.1", "127.0.1", "2130706433", "0177.0.0.1", "017700000001", "127.0.0.1.", "0"),
        *("2852039166", "0251.0376.0251.0376"),
    )
]


URLS = [
    now("ftp://good.test/picture", NOT_HTTP),
    now("file:///etc/passwd", NOT_HTTP),
    now("file:photo.png", NOT_HTTP),
    now("gopher://good.test:{port}/_GET", NOT_HTTP),
    now("dict://good.test:{port}/d", NOT_HTTP),
    now("data:image/png;base64,iVBORw0KGgo=", NOT_HTTP),
    now("jar:http://good.test!/a.png", NOT_HTTP),
    now("unix:/var/run/docker.sock", NOT_HTTP),
    now("javascript:alert(1)", NOT_HTTP),
    now("C:\\Windows\\win.ini", NOT_HTTP),
    now("http:/127.0.0.1/picture", "names no host"),
    now("http:///picture", "names no host"),
    now("http:picture", "names no host"),
    now("http://me@good.test:{port}/picture", "user name"),
    now("http://:secret@good.test:{port}/picture", "user name"),
    now("http://good.test@127.0.0.1:{port}/picture", "user name"),
    now("http://good.test:{port}@127.0.0.1/picture", "user name"),
    now("http://@127.0.0.1:{port}/picture", "user name"),
    now("http://good.test\\@127.0.0.1:{port}/picture", NO_URL),
    now("http://127.0.0.1:{port}\\@good.test/picture", NO_URL),
    now("http://127.0.0.1\\.good.test:{port}/picture", NO_URL),
    now("http://good.test:{port}/\r\nX-Injected: 1", NO_URL),
    now("http://good.te\tst:{port}/picture", NO_URL),
    now("http://good.test :{port}/picture", NO_URL),
    now("http://good.test\0.evil.test/picture", NO_URL),
    now("http://[::1/picture", NO_URL),
    now("http://[127.0.0.1]:{port}/picture", NO_URL),
    now("http://good.test:0/picture", NO_URL),
    now("http://good.test:65536/picture", NO_URL),
    now("http://good.test:-1/picture", NO_URL),
    now("http://good.test:8x/picture", NO_URL),
    now("http://good.test\u2100evil.test/picture", NO_URL),
    now("http://other.test:22/picture", "port 22"),
    now("http://other.test:25/picture", "port 25"),
    now("https://other.test:6667/picture", "port 6667"),
    Case("http://loopback.test:{port}/picture", REFUSED, PRIVATE),
    Case("http://six.test:{port}/picture", REFUSED, PRIVATE),
    Case("http://mapped.test:{port}/picture", REFUSED, PRIVATE),
    Case("http://metadata.test/latest/meta-data/", REFUSED, PRIVATE),
    Case("http://both.test:{port}/picture", REFUSED, PRIVATE),
    Case("http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/picture", REFUSED),
    Case("http://127\u30020\u30020\u30021:{port}/picture", REFUSED),
    Case("http://ported.test:8081/picture", REFUSED, PRIVATE),
    Case("http://4294967297:{port}/picture", REFUSED, NO_URL),
    Case("http://nowhere.test/picture", AWAY, "not reachable"),
    Case("http://good.test:1/picture", AWAY, "not reachable"),
    Case("https://good.test:{port}/picture", AWAY, "not reachable"),
]


REDIRECTS = [
    Case(f"http://good.test:{{port}}/redirect/{to}", REFUSED, says)
    for to, says in (
        ("http://127.0.0.1:{port}/picture", PRIVATE),
        ("http://[::1]:{port}/picture", PRIVATE),
        ("http://0x7f000001:{port}/picture", PRIVATE),
        ("http://169.254.169.254/latest/meta-data/", PRIVATE),
        ("http://loopback.test:{port}/picture", PRIVATE),
        ("//127.0.0.1:{port}/picture", PRIVATE),
        ("file:///etc/passwd", NOT_HTTP),
        ("ftp://good.test/picture", NOT_HTTP),
        ("gopher://127.0.0.1:{port}/_", NOT_HTTP),
        ("http://me:secret@good.test:{port}/picture", "user name"),
        ("http://good.test:99999/picture", NO_URL),
        ("http://[::1", "no valid URL"),
        ("http://other.test:25/", "port 25"),
    )
] + [
    Case(
        "http://rebinds.test:{port}/redirect/http://rebinds.test:{port}/picture", REFUSED, PRIVATE
    ),
    Case("http://good.test:{port}/chain/6", AWAY, "More than 5 redirects"),
    Case("http://good.test:{port}/no-location", AWAY, "More than 5 redirects"),
    Case("http://good.test:{port}/redirect/..%2Fredirect", AWAY, "More than 5 redirects"),
]


ANSWERS = [
    Case(f"http://good.test:{{port}}/{path}", code, says)
    for path, code, says in (
        ("text/photo.png", INVALID, "text/plain"),
        ("page/photo.png", INVALID, "text/html"),
        ("empty", INVALID, "sent nothing"),
        ("large", LARGE, "MEDIA_MAX_BYTES"),
        ("claims-large", LARGE, "MEDIA_MAX_BYTES"),
        ("endless", LARGE, "MEDIA_MAX_BYTES"),
        ("endless-chunks", LARGE, "MEDIA_MAX_BYTES"),
        ("gzip", AWAY, "compressed"),
        ("deflate", AWAY, "compressed"),
        ("br", AWAY, "compressed"),
        ("zstd", AWAY, "compressed"),
        ("breaks-off", AWAY, "not reachable"),
        ("closes", AWAY, "not reachable"),
        ("garbage", AWAY, "not reachable"),
        ("long-header", AWAY, "not reachable"),
        ("many-headers", AWAY, "not reachable"),
        ("status/204", AWAY, "answered 204"),
        ("status/304", AWAY, "answered 304"),
        ("status/401", AWAY, "answered 401"),
        ("status/500", AWAY, "answered 500"),
    )
]


SLOW = [
    Case(f"http://good.test:{{port}}/{path}", AWAY, "too slow")
    for path in ("drip", "drips-headers", "silent", "informs")
]


PATHS = [
    now("/etc/passwd", "outside"),
    now("//etc/passwd", "outside"),
    now("//127.0.0.1:{port}/picture", "outside"),
    now("/proc/self/environ", "outside"),
    now("/dev/zero", "outside"),
    now("../outside.png", "outside"),
    now("folder/../../outside.png", "outside"),
    now("./folder/./.././../outside.png", "outside"),
    now("leads-out.png", "outside"),
    now("folder-out/passwd", "outside"),
    now("leads-to-zero.png", "outside"),
    now("leads-on.png", "outside"),
    now("photo.png\0", "not a valid"),
    now("\0", "not a valid"),
    Case("itself.png", REFUSED, at_once=True),
    Case(".", REFUSED, "not a regular file", at_once=True),
    Case("folder", REFUSED, "not a regular file"),
    Case("pipe.png", REFUSED, "not a regular file"),
    Case("socket.png", REFUSED, "not a regular file"),
    Case("leads-to-pipe.png", REFUSED, "not a regular file"),
    Case("missing.png", AWAY, "no such file"),
    Case("photo.png/", None),
    Case("photo.png/more", AWAY, "no such file"),
    Case("%2e%2e/outside.png", AWAY, "no such file"),
    Case("..\\outside.png", AWAY, "no such file"),
    Case("~/outside.png", AWAY, "no such file"),
    Case("x" * 5000, AWAY, "no such file"),
    Case("empty.png", INVALID, "empty"),
    Case("text.png", INVALID, "text/plain"),
    Case("large.png", LARGE, "MEDIA_MAX_BYTES"),
]


HONEST = [
    Case("http://good.test:{port}/picture", None),
    Case("HTTP://GOOD.TEST:{port}/Pic ture.png?a=b&c=\u00fc#fragment", None),
    Case("http://ported.test:{port}/picture", None),
    Case("http://public.test:{port}/picture", None),
    Case("http://mixed.test:{port}/picture", None),
    Case("http://public.test:{port}/redirect/http://good.test:{port}/picture", None),
    Case("http://good.test:{port}/redirect/..%2Fpicture", None),
    Case("http://good.test:{port}/chain/5", None),
    Case("photo.png", None),
    Case("./folder/../photo.png", None),
    Case("folder/photo.png", None),
    Case("alias.png", None),
]
