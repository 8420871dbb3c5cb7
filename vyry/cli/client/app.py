"""The commands of `vyry client` and their examples. The module of a command is imported when the command runs, to keep the start short."""

from collections.abc import Sequence
from typing import Final

from cyclopts import App


app = App(name="client")

#: The id of a message in the examples.
EXAMPLE_MESSAGE_ID: Final = "0197f6a2-5b1c-7000-8000-3f6d2a9c1e55"
_EXAMPLE_DIGITS: Final = "12345 67890 12345 67890 12345 67890 12345 67890 12345 67890 12345 67890"
#: Each command: its module and function, its line in the list of commands, and the examples at the end of its help.
COMMANDS: Final[Sequence[tuple[str, str, tuple[str, ...]]]] = (
    (
        "account:register",
        "Register a phone number. All other devices of its account are removed.",
        (
            "register +491512345678",
            "register +491512345678 --profile work --url https://node.example --passphrase-file -",
        ),
    ),
    (
        "joining:join",
        "Join a node by an invitation, without a phone number.",
        ('join "https://node.example/#invite=..." --name Ann', "join TOKEN --url https://node.example --username ann"),
    ),
    (
        "joining:recover",
        "Take over your account on this device by its recovery code. All its other devices are removed.",
        (
            "recover @ann --profile new --url https://node.example",
            "recover @ann --code-file code.txt --pin-file pin.txt",
        ),
    ),
    (
        "joining:recovery_code",
        "Make a new recovery code for your account. Any earlier code is void.",
        ("recovery-code",),
    ),
    ("joining:delete", "Delete your account and everything that the node stores about it.", ("delete",)),
    ("invite:app", "Invite people to this node.", ()),
    (
        "linking:link",
        "Link this profile to your account as a new device.",
        ("link --profile laptop", 'link --profile laptop --name "Ann\'s laptop"'),
    ),
    (
        "linking:approve",
        "Approve a new device for your account.",
        ("approve 'vyry://link?v=1&id=...'", "approve - --pin-file pin.txt"),
    ),
    ("whoami:whoami", "Print your user id.", ("whoami", "whoami --json")),
    (
        "account:profile",
        "Show or change your profile, or show the profile of another user.",
        ("profile", 'profile --username ann --name "Ann Lee"', 'profile --sealed-name "Ann"', "profile @bo"),
    ),
    ("contacts:contact", "Print your contact link and its QR code.", ("contact", "contact --json")),
    (
        "contacts:add",
        "Add a user by their contact link, or give a user a name.",
        ('add "https://node.example/#contact=..." --name Bo', 'add @bo --name "Bo Lee"'),
    ),
    ("pin:app", "Show, set or remove the PIN of your account.", ()),
    (
        "friends:app",
        "Manage friends, friend requests and blocks. WHO is a name, @username, phone number (+...), contact link or user id.",
        (),
    ),
    (
        "groups:app",
        "Manage groups. GROUP is a title or conversation id; WHO is a name, @username, phone number (+...), contact link or user id.",
        (),
    ),
    ("chat_command:chat", "Open the full-screen chat.", ("chat", "chat @bo")),
    ("conversations:chats", "List your conversations and the decisions that they need.", ("chats",)),
    (
        "messages:send",
        "Send a message and wait until the node has accepted it.",
        (
            'send @bo "hello"',
            "send @bo < letter.txt",
            f'send @bo "yes" --reply-to {EXAMPLE_MESSAGE_ID}',
            'send @bo "look" --file photo.jpg',
        ),
    ),
    ("files:app", "Send and download files.", ()),
    (
        "messages:react",
        "React to a message with an emoji, or remove your reaction.",
        (f"react @bo {EXAMPLE_MESSAGE_ID} 👍", f"react @bo {EXAMPLE_MESSAGE_ID}"),
    ),
    ("messages:edit", "Edit a message you sent (within 24 hours).", (f'edit @bo {EXAMPLE_MESSAGE_ID} "hello!"',)),
    ("messages:unsend", "Unsend a message you sent (within 24 hours).", (f"unsend @bo {EXAMPLE_MESSAGE_ID}",)),
    (
        "conversations:receive",
        "Receive and print new messages and events.",
        ("receive --follow", "receive --json", "receive --follow --live"),
    ),
    ("conversations:history", "Print the messages of a conversation, including your own.", ("history @bo --limit 10",)),
    (
        "search:search",
        "Find messages by words, newest first, with the messages around them.",
        ("search garden", 'search "green garden" --with @bo --since 2026-03-31', "search garden --json"),
    ),
    ("conversations:read", "Mark the messages of a conversation as read.", ("read @bo",)),
    (
        "whois:whois",
        "Show which account a name refers to in this profile.",
        ("whois @bo", "whois @bo --refresh", f"whois @bo --take {EXAMPLE_MESSAGE_ID}"),
    ),
    (
        "safety:safety",
        "Print and compare safety numbers; accept a changed key.",
        ("safety @bo", f"safety @bo --verify {_EXAMPLE_DIGITS}", f'safety @bo --accept "{_EXAMPLE_DIGITS}"'),
    ),
    ("devices:app", "List, rename or remove the devices of your account.", ()),
    (
        "backups:backup",
        "Write your history, contacts and group titles to a sealed file.",
        ("backup vyry.backup", "backup vyry.backup --overwrite"),
    ),
    (
        "backups:restore",
        "Add the messages, contacts and group titles of a backup to this profile.",
        ("restore vyry.backup", "restore vyry.backup --key-file key.txt", "restore --drop"),
    ),
    ("account:export", "Export all data that the node stores about your account to a file.", ("export account.json",)),
    ("account:logout", "Log out this device.", ("logout",)),
)


def format_examples(*lines: str) -> str:
    """The examples at the end of a help page, one per line."""
    return "\n\n".join(f"vyry client {line}" for line in lines)


for _target, _help, _examples in COMMANDS:
    _module, _, _function = _target.partition(":")
    if _function == "app":
        app.command(f"vyry.cli.client.{_target}", name=_module, help=_help)
    else:
        app.command(
            f"vyry.cli.client.{_target}",
            name=_function.replace("_", "-"),
            help=_help,
            help_epilogue=format_examples(*_examples),
        )
