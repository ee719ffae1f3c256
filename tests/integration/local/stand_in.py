"""Stand-ins for the services: `python -m tests.integration.local.stand_in <kind>`.

`answer` serves 200 on every path of PORT and ends at SIGTERM; `wait` only ends at SIGTERM; `stubborn` ignores SIGTERM and has a
child of its own that does too; `die` ends at once with 3; `done` ends at once with 0.
"""

import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Fine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _answer() -> None:
    print("stand-in answers", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), _Fine).serve_forever()


def _stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleeper, start_new_session=True):
        print("stand-in is stubborn", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    match sys.argv[1]:
        case "answer":
            _answer()
        case "wait":
            time.sleep(600)
        case "stubborn":
            _stubborn()
        case "die":
            sys.exit(3)
        case "done":
            sys.exit(0)
