"""Media from a session's owner to an api process, in pieces through a queue per download.

The api declares the queue, exclusive to its connection, and names it in `FetchMedia`. When the
queue is full, the broker refuses the next piece and the owner waits. When the api deletes the queue
or disconnects, pieces are unroutable and the owner stops.
"""

from collections.abc import Mapping

CHUNK_BYTES = 256 * 1024
CHUNKS_IN_QUEUE = 8
CHUNKS_UNACKED = 4
"""Prefetch: pieces that the api holds and its client has not taken yet."""

QUEUE_ARGUMENTS: Mapping[str, str | int] = {
    "x-max-length": CHUNKS_IN_QUEUE,
    "x-overflow": "reject-publish",
}
OFFSET = "offset"
"""Header with the piece's offset in the media, in bytes."""
