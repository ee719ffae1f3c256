"""The worker process of one session's neonize; no other process loads the Go library.

The process exits at the end of its socket, at its deadline (a kernel timer, whose signal needs no
Python), and after an observation that ends the attempt. It exits without a clean-up: a stop of the
Go library may hang.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wa_session_host.engine.neonize.engine_log import EngineLog
from wa_session_host.engine.port import (
    AskFailed,
    DownloadFailed,
    NotNow,
    NotSent,
    OutcomeUnknown,
    PairingUnavailable,
    SendRefused,
)
from wa_session_host.engine.protocol import (
    AskCall,
    Begin,
    CallResult,
    DeadlineAck,
    DownloadCall,
    ExtendDeadline,
    Frame,
    Hello,
    Loaded,
    LogOutCall,
    PairCall,
    SendCall,
    encode_frame,
    read_frame,
)

log = logging.getLogger(__name__)


def main(connection: socket.socket) -> int:
    """Run one engine for the host at the other end of the socket."""
    _silence_stdout()
    asyncio.run(_work(connection))
    return 0


def _silence_stdout() -> None:
    """Redirect stdout to /dev/null: the Go library prints pairing codes there."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


async def _work(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)

    def tell(frame: Frame) -> None:
        writer.write(encode_frame(frame))

    tell(Hello())
    # On a busy machine the load takes longer than a lease, so the host sends the deadline
    # afterwards: nothing before needs the lease.
    from wa_session_host.engine.neonize import library  # noqa: PLC0415 - preloaded
    from wa_session_host.engine.neonize.whatsapp import WhatsApp  # noqa: PLC0415 - preloaded

    engine_log = EngineLog()
    library.load(engine_log.read)
    tell(Loaded())
    begin = await read_frame(reader)
    if not isinstance(begin, Begin):
        return
    deadline = Deadline(begin.deadline)

    async def end() -> None:
        await writer.drain()
        writer.write_eof()
        await asyncio.sleep(0.05)
        os._exit(0)

    engine = WhatsApp(begin, tell, end, engine_log)
    calls: set[asyncio.Task[None]] = set()
    await engine.connect()
    while (frame := await read_frame(reader)) is not None:
        match frame:
            case ExtendDeadline():
                deadline.extend(frame.deadline)
                tell(DeadlineAck())
            case SendCall() | PairCall() | DownloadCall() | AskCall() | LogOutCall():
                task = asyncio.create_task(answer(engine, frame, deadline, tell))
                calls.add(task)
                task.add_done_callback(calls.discard)
            case _:
                break
    os._exit(0)


async def answer(
    engine: Any,
    call: SendCall | PairCall | DownloadCall | AskCall | LogOutCall,
    deadline: "Deadline",
    tell: Callable[[Frame], None],
) -> None:
    """Carry out a call and tell its result, whatever happens: the host waits for it.

    After an unexpected error the outcome is unknown: the engine names all that it knows.
    """
    try:
        tell(await _result(engine, call, deadline))
    except NotNow as error:
        tell(
            CallResult(
                call.call,
                error="NotNow",
                code=error.code,
                message=str(error),
                unrecognised=error.unrecognised,
            )
        )
    except (SendRefused, DownloadFailed, AskFailed) as error:
        name = type(error).__name__
        tell(CallResult(call.call, error=name, code=error.code, message=str(error)))
    except OutcomeUnknown as error:
        told = CallResult(call.call, error="OutcomeUnknown", message=str(error))
        tell(replace(told, unrecognised=error.unrecognised))
    except (NotSent, PairingUnavailable) as error:
        tell(CallResult(call.call, error=type(error).__name__, message=str(error)))
    except Exception as error:  # noqa: BLE001 - answered and logged
        name = type(error).__name__  # its text, as the traceback shows it, may quote the message
        at = traceback.extract_tb(error.__traceback__)[-1]
        log.error("%s failed: %s in %s:%s", type(call).__name__, name, at.filename, at.lineno)  # noqa: TRY400
        message = f"The engine failed unexpectedly: {name}."
        tell(CallResult(call.call, error=OutcomeUnknown.__name__, message=message))


async def _result(
    engine: Any,
    call: SendCall | PairCall | DownloadCall | AskCall | LogOutCall,
    deadline: "Deadline",
) -> CallResult:
    match call:
        case SendCall():
            deadline.check()
            return CallResult(call.call, acknowledged=await engine.send(call.message))
        case PairCall():
            code = await engine.pairing_code(call.phone_number)
            return CallResult(call.call, pairing_code=code)
        case DownloadCall():
            await engine.download(call.media, Path(call.path))
        case AskCall():
            return CallResult(call.call, answer=await engine.ask(call.question))
        case LogOutCall():
            await engine.log_out()
    return CallResult(call.call)


class Deadline:
    """The deadline of this process: the kernel ends the process at that time."""

    def __init__(self, deadline: float) -> None:
        """`deadline` is on the machine's monotonic clock, in seconds."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.extend(deadline)

    def extend(self, deadline: float) -> None:
        """Move the deadline. A past deadline ends the process now."""
        self._deadline = deadline
        signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.000_001))

    def check(self) -> None:
        """Check that the lease covers an action that begins now.

        Raises:
            NotSent: the deadline is past.
        """
        if time.monotonic() >= self._deadline:
            raise NotSent("The host's lease does not cover a send.")
