"""A process that creates or upgrades the device store's tables, and ends."""

import socket


def main(connection: socket.socket) -> int:
    """Open the store that the socket names until its end of stream; end the process when it is ready."""
    url = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    from wa_session_host.engine.neonize import library  # noqa: PLC0415 - preloaded

    library.load(read=lambda _: None)
    from neonize.aioze.client import ClientFactory  # noqa: PLC0415 - preloaded

    ClientFactory.get_all_devices_from_db(url)  # to open a store is to upgrade it
    return 0
