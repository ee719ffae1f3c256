"""Media on their way from a session's owner to an api process: pieces in a queue of that download.

The api declares the queue, exclusive to its connection, and names it in `FetchMedia`. It holds a few
pieces: when it is full the broker refuses the next one, and the owner waits. It goes with the
api's connection or when the api deletes it: then a piece has nowhere to go, and the owner stops.
"""

from collections.abc import Mapping

CHUNK_BYTES = 256 * 1024
CHUNKS_IN_QUEUE = 8
CHUNKS_UNACKED = 4
"""How many more pieces the api has in hand, which its client has not taken yet."""

QUEUE_ARGUMENTS: Mapping[str, str | int] = {
    "x-max-length": CHUNKS_IN_QUEUE,
    "x-overflow": "reject-publish",
}
OFFSET = "offset"
"""The header that says where in the media a piece begins, in bytes."""
