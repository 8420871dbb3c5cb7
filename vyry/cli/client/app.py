"""`vyry client` and its commands, each with lines to learn from."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cyclopts import App

from vyry.cli.client import account, talking


app = App(name="client", help="Chat from the terminal: end to end, with keys that stay in this profile.")

#: Each command with the examples that end its help.
COMMANDS: Final[Mapping[Callable[..., Any], tuple[str, ...]]] = {
    account.register: (
        "register +491512345678",
        "register +491512345678 --profile work --url https://node.example",
    ),
    account.whoami: ("whoami", "whoami --json"),
    talking.send: (
        'send 0197f6a2-5b1c-7000-8000-3f6d2a9c1e55 "hello"',
        "send 0197f6a2-5b1c-7000-8000-3f6d2a9c1e55 < letter.txt",
    ),
    talking.receive: ("receive --follow", "receive --json"),
}
for _command, _examples in COMMANDS.items():
    app.command(_command, help_epilogue="\n\n".join(f"vyry client {line}" for line in _examples))
