"""Run the stand-in by hand: `python -m tests.whatsapp PHONE_NUMBER CONTACT_NUMBER…`.

It prints the environment for the engine's process as shell exports, and then obeys lines on
standard input:

    scan TEXT            the phone scans a QR code, given as its text
    code XXXX-XXXX       the phone types a pairing code
    say CONTACT TEXT     a contact writes to the phone's number
    drop, unlink, replace, offline, online

What contacts receive is printed as it arrives.
"""

import asyncio
import shlex
import sys

from tests.whatsapp import Contact, PairingCodeInvalid, PairingRefused, Phone, QRInvalid, StandIn


async def _show_messages(contact: Contact) -> None:
    while True:
        message = await contact.receive(timeout=float("inf"))
        content = message.text or f"{message.kind} {message.file_name} {message.caption}"
        print(f"{contact.number} < {message.sender}: {content}", flush=True)


async def _obey(line: str, whatsapp: StandIn, phone: Phone) -> None:
    command, _, argument = line.strip().partition(" ")
    match command:
        case "scan":
            await phone.scan(argument)
        case "code":
            await phone.enter_pairing_code(argument)
        case "say":
            number, _, text = argument.partition(" ")
            await whatsapp.contact(number).send_text(phone.number, text)
        case "drop" | "unlink" | "replace":
            await getattr(phone, command)()
        case "offline" | "online":
            getattr(whatsapp, command)()
        case _:
            print("scan, code, say, drop, unlink, replace, offline or online?")


async def _serve(phone_number: str, contact_numbers: list[str]) -> None:
    async with StandIn.start() as whatsapp, asyncio.TaskGroup() as tasks:
        for name, value in whatsapp.engine_environment().items():
            print(f"export {name}={shlex.quote(value)}")
        sys.stdout.flush()
        shown = [
            tasks.create_task(_show_messages(whatsapp.contact(number)))
            for number in contact_numbers
        ]
        phone = whatsapp.phone(phone_number)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                await _obey(line, whatsapp, phone)
            except (QRInvalid, PairingCodeInvalid, PairingRefused, LookupError) as error:
                print(f"{type(error).__name__}: {error}", flush=True)
        for task in shown:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2:]))
