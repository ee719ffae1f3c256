"""HEALTHCHECK of the images: `alive.py SETTING PATH` asks this container's own port.

SETTING names the environment variable with the port. Only the standard library, so that
`python -I -S` starts it in a few hundredths of a second.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 3


def main(arguments: list[str]) -> int:
    setting, path = arguments
    port = int(os.environ[setting])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return 0 if connection.getresponse().status == http.client.OK else 1
    except OSError as error:
        print(f"{path} on port {port}: {error}")
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
