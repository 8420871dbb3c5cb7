"""`vyry client` and its commands, each with lines to learn from."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from cyclopts import App

from vyry.cli.client import (
    account,
    chatting,
    devices,
    files,
    groups,
    hearing,
    linking,
    people,
    pins,
    talking,
    trust,
    whois,
)


app = App(name="client", help="Chat from the terminal: end to end, with keys that stay in this profile.")

_MESSAGE: Final = "0197f6a2-5b1c-7000-8000-3f6d2a9c1e55"
_DIGITS: Final = "12345 67890 12345 67890 12345 67890 12345 67890 12345 67890 12345 67890"
#: Each command with the examples that end its help.
COMMANDS: Final[Sequence[tuple[Callable[..., Any] | App, tuple[str, ...]]]] = (
    (
        account.register,
        (
            "register +491512345678",
            "register +491512345678 --profile work --url https://node.example --passphrase-file -",
        ),
    ),
    (linking.link, ("link --profile laptop", 'link --profile laptop --name "Ann\'s laptop"')),
    (linking.approve, ("approve 'vyry://link?v=1&id=...'", "approve - --pin-file pin.txt")),
    (account.whoami, ("whoami", "whoami --json")),
    (
        account.profile,
        ("profile", 'profile --username ann --name "Ann Lee"', 'profile --sealed-name "Ann"', "profile @bo"),
    ),
    (pins.app, ("pin set", "pin set --lock", "pin set --pin-file new.txt --current-file old.txt", "pin remove")),
    (people.app, ("friends add @bo", "friends requests", "friends accept @ann", "friends list", "friends block @eve")),
    (
        groups.app,
        (
            'groups create "Walks" @bo @cy',
            "groups add Walks @dan",
            "groups remove Walks @bo",
            "groups invite Walks --uses 1",
        ),
    ),
    (chatting.chat, ("chat", "chat @bo")),
    (hearing.chats, ("chats",)),
    (
        talking.send,
        (
            'send @bo "hello"',
            "send @bo < letter.txt",
            f'send @bo "yes" --reply-to {_MESSAGE}',
            'send @bo "look" --file photo.jpg',
        ),
    ),
    (files.app, ('files send @bo photo.jpg "look"', f"files get @ann {_MESSAGE} ~/Downloads")),
    (talking.react, (f"react @bo {_MESSAGE} 👍", f"react @bo {_MESSAGE}")),
    (talking.edit, (f'edit @bo {_MESSAGE} "hello!"',)),
    (talking.unsend, (f"unsend @bo {_MESSAGE}",)),
    (hearing.receive, ("receive --follow", "receive --json", "receive --follow --live")),
    (hearing.history, ("history @bo --limit 10",)),
    (hearing.read, ("read @bo",)),
    (
        whois.whois,
        ("whois @bo", "whois @bo --refresh", f"whois @bo --take {_MESSAGE}"),
    ),
    (
        trust.safety,
        ("safety @bo", f"safety @bo --verify {_DIGITS}", f'safety @bo --accept "{_DIGITS}"'),
    ),
    (devices.app, ("devices list", 'devices rename 1 "the old laptop"', "devices remove 2")),
    (account.export, ("export account.json",)),
    (account.logout, ("logout",)),
)


def _add(command: Callable[..., Any] | App, examples: tuple[str, ...]) -> None:
    epilogue = "\n\n".join(f"vyry client {line}" for line in examples)
    if isinstance(command, App):
        command.help_epilogue = epilogue
        app.command(command)
    else:
        app.command(command, help_epilogue=epilogue)


for _command, _examples in COMMANDS:
    _add(_command, _examples)
