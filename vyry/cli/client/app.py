"""`vyry client` and its commands, each with lines to learn from. A command's module is loaded when the command runs, so that each starts soon."""

from collections.abc import Sequence
from typing import Final

from cyclopts import App


app = App(name="client", help="Chat from the terminal: end to end, with keys that stay in this profile.")

#: The id of a message in the examples.
EXAMPLE_MESSAGE_ID: Final = "0197f6a2-5b1c-7000-8000-3f6d2a9c1e55"
_EXAMPLE_DIGITS: Final = "12345 67890 12345 67890 12345 67890 12345 67890 12345 67890 12345 67890"
#: Each command: where it is, what the list of commands says of it, and the examples that end its help.
COMMANDS: Final[Sequence[tuple[str, str, tuple[str, ...]]]] = (
    (
        "account:register",
        "Sign up with a telephone number. All other devices of its account end.",
        (
            "register +491512345678",
            "register +491512345678 --profile work --url https://node.example --passphrase-file -",
        ),
    ),
    (
        "linking:link",
        "Make this profile another device of an account that you have.",
        ("link --profile laptop", 'link --profile laptop --name "Ann\'s laptop"'),
    ),
    (
        "linking:approve",
        "Let a new device into your account.",
        ("approve 'vyry://link?v=1&id=...'", "approve - --pin-file pin.txt"),
    ),
    ("whoami:whoami", "Print the user id by which others find you.", ("whoami", "whoami --json")),
    (
        "account:profile",
        "Show or change what others see of you; or show what somebody else shows.",
        ("profile", 'profile --username ann --name "Ann Lee"', 'profile --sealed-name "Ann"', "profile @bo"),
    ),
    ("pin:app", "The PIN of your account.", ()),
    ("friends:app", "Friends, requests and blocks. WHO is a user id, a @username or a number (+...).", ()),
    ("groups:app", "Groups. GROUP is a title or an id; WHO is a user id, a @username or a number (+...).", ()),
    ("chat_command:chat", "Chat on the whole screen.", ("chat", "chat @bo")),
    ("conversations:chats", "List your conversations, and what you have to decide about them.", ("chats",)),
    (
        "messages:send",
        "Send a message, and wait until the node has it.",
        (
            'send @bo "hello"',
            "send @bo < letter.txt",
            f'send @bo "yes" --reply-to {EXAMPLE_MESSAGE_ID}',
            'send @bo "look" --file photo.jpg',
        ),
    ),
    ("files:app", "Send files, and fetch what others sent.", ()),
    (
        "messages:react",
        "Put an emoji on a message; without one, take it back.",
        (f"react @bo {EXAMPLE_MESSAGE_ID} 👍", f"react @bo {EXAMPLE_MESSAGE_ID}"),
    ),
    ("messages:edit", "Edit a message you sent (within 24 hours).", (f'edit @bo {EXAMPLE_MESSAGE_ID} "hello!"',)),
    ("messages:unsend", "Take back a message you sent (within 24 hours).", (f"unsend @bo {EXAMPLE_MESSAGE_ID}",)),
    (
        "conversations:receive",
        "Print what came since the last time.",
        ("receive --follow", "receive --json", "receive --follow --live"),
    ),
    ("conversations:history", "Print the messages of a conversation, your own included.", ("history @bo --limit 10",)),
    ("conversations:read", "Mark the messages of a conversation as read.", ("read @bo",)),
    (
        "whois:whois",
        "Print the account that a name means in this profile.",
        ("whois @bo", "whois @bo --refresh", f"whois @bo --take {EXAMPLE_MESSAGE_ID}"),
    ),
    (
        "safety:safety",
        "Print and compare safety numbers; accept a changed key.",
        ("safety @bo", f"safety @bo --verify {_EXAMPLE_DIGITS}", f'safety @bo --accept "{_EXAMPLE_DIGITS}"'),
    ),
    ("devices:app", "The devices of your account.", ()),
    ("account:export", "Write everything that the node knows of the account into a file.", ("export account.json",)),
    ("account:logout", "End this device.", ("logout",)),
)


def format_examples(*lines: str) -> str:
    """The examples at the end of a help page, one per line."""
    return "\n\n".join(f"vyry client {line}" for line in lines)


for _target, _help, _examples in COMMANDS:
    _module, _, _function = _target.partition(":")
    if _function == "app":
        app.command(f"vyry.cli.client.{_target}", name=_module, help=_help)
    else:
        app.command(f"vyry.cli.client.{_target}", name=_function, help=_help, help_epilogue=format_examples(*_examples))
