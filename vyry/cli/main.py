"""The command `vyry`: parses the command line, runs the command, and turns an error into one line that says what to do and an exit code.

0 done · 1 failed, or `check` found something · 2 wrong command line or settings · 3 refused by the state of nodes or database · 130 Ctrl-C · 143 SIGTERM; `vyry client` has more (docs/cli.md).
Each command's module is imported only when the command runs: a web process never loads Faust.
"""

import sys
from collections.abc import Sequence
from typing import Literal

from cyclopts import App, CycloptsError

from vyry import __version__
from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.command_line import sort_arguments
from vyry.cli.prompts import Terminated
from vyry.cli.stdio import flush_stdout, is_stdout_error, open_standard_streams, print_error, stdout_error_text
from vyry.errors import CommandError, ConfigurationError, SchemaTooNew, SchemaTooOld, Unavailable


_HELP = """A self-hosted, end-to-end-encrypted messaging node.

To begin, run `vyry start`: it needs no other service. For a cluster, run `vyry migrate` once per release, then any number of
`vyry web` and `vyry worker` processes, with PostgreSQL, Redis and Kafka. Settings are environment variables: see .env.example."""
#: Each command: its module and function, and the first line of its help.
COMMANDS = {
    "start": ("start:start", "Run a complete node in one process with SQLite: for a laptop or a small team."),
    "web": ("web:web", "Run a web node of a cluster: REST API and WebSockets."),
    "worker": ("worker:worker", "Run a worker of a cluster: mailbox agents and sweeper."),
    "migrate": ("schema:migrate", "Migrate the database and create the Kafka topic. Safe to run concurrently."),
    "rollback": (
        "schema:rollback",
        "Undo the newest migration and delete the data stored in what it added, while no node runs.",
    ),
    "backup": ("backup:app", "Back up the database, the attachments and, if asked for, the secrets, while nodes run."),
    "restore": ("restore:restore", "Restore a backup while no node runs."),
    "check": ("check:check", "Check settings, services, clock and disk."),
    "partitions": (
        "partitions:app",
        "Show the partitions and workers of a cluster; move, drain, rebalance, grow or pin partitions.",
    ),
    "top": ("top:top", "Show partitions, workers, rates and sockets, live."),
    "clock": ("clock:app", "Show the latest time stored in the database, or confirm this machine's clock."),
    "rotate-keys": ("rotation:rotate_keys", "Rotate the key that signs access tokens."),
    "rotate-pepper": (
        "rotation:rotate_pepper",
        "Rotate the pepper that protects stored phone numbers, while nodes run.",
    ),
    "secrets": ("schema:secrets", "Create missing secret files in the data folder."),
    "restored": (
        "restored:restored",
        "Delete all one-time prekeys after a database backup was restored.",
    ),
    "invite": ("invite:app", "Invite people to this node, without a phone number."),
    "user": ("user:app", "Show, suspend, resume or delete an account, or revoke its devices. Every action is logged."),
    "mailbox": ("mailbox:app", "Explain the mailbox of a device, drop entries of it, or release what waits in it."),
    "push": ("push:app", "Explain the pushes of a device, or send it a test push."),
    "announce": (
        "announce:announce",
        "Send a text to all devices, as a message of the operator. It is not encrypted.",
    ),
    "sms": ("sms:app", "Show what one-time codes cost, and what may still be spent."),
    "client": ("client.app:app", "Chat from the terminal, end-to-end encrypted. The keys stay in the profile."),
    "demo": ("demo:demo", "Run a demo: two users chat on a temporary node."),
    "soak": ("soak:soak", "Soak test: clients send messages under load and count losses."),
    "audit": ("operator:audit", "Print the audit log of operator actions."),
    "completion": ("main:completion", "Print the shell completion script for bash, zsh or fish."),
    "openapi": ("documents:openapi", "Print the OpenAPI 3.1 document of the REST API."),
    "asyncapi": ("documents:asyncapi", "Print the AsyncAPI 3.0 document of the WebSocket frames."),
    "version": ("main:version", "Print the version."),
}
#: Packages of this distribution: an import error inside them is a bug.
_OWN_PACKAGES = ("vyry", "web", "agents", "migrations")

app = App(name="vyry", help=_HELP, version=__version__, help_format="plaintext")
for _name, (_target, _text) in COMMANDS.items():
    app.command(f"vyry.cli.{_target}", name=_name, help=_text)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    open_standard_streams()
    code, lines = _run_command(sys.argv[1:] if words is None else words)
    lost = flush_stdout()
    if lost:
        code, lines = code or 1, [lost]
    for line in lines:
        # The text may come from a node or contain what another user wrote.
        print_error(indent_continuation(f"vyry: {line}"))
    return code


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the shell completion script for bash, zsh or fish.

    bash: `source <(vyry completion bash)`. zsh: `vyry completion zsh > ~/.zfunc/_vyry`, with ~/.zfunc in fpath before compinit.
    fish: `vyry completion fish > ~/.config/fish/completions/vyry.fish`.

    Args:
        shell: The shell.
    """
    for name in COMMANDS:
        try:
            app[name]
        except ImportError as problem:
            _missing_node_text(name, problem)
            del app[name]
    print(app.generate_completion(prog_name="vyry", shell=shell))  # nosec B604 - the name of a shell, which runs nothing


def version() -> None:
    """Print the version."""
    print(__version__)


def _run_command(words: Sequence[str]) -> tuple[int, Sequence[str]]:
    code = 0
    try:
        answer = app(sort_arguments(app, words), exit_on_error=False, print_error=False, result_action="return_value")
        code = answer if isinstance(answer, int) else 0
    except KeyboardInterrupt:
        code = 130
    except Terminated:
        code = 143
    except BrokenPipeError:
        # The reader of standard output has closed it: not an error.
        code = 0
    except ImportError as problem:
        return 1, [_missing_node_text(words[0], problem)]
    except (
        CycloptsError,
        ConfigurationError,
        SchemaTooNew,
        SchemaTooOld,
        Unavailable,
        CommandError,
        OSError,
    ) as problem:
        return _error_lines(problem)
    return code, []


def _missing_node_text(command: str, problem: ImportError) -> str:
    """The error of a node command when only the client is installed. Raises an error that has another cause."""
    missing = problem.__cause__ if isinstance(problem.__cause__, ImportError) else problem
    if command == "client" or str(missing.name).partition(".")[0] in _OWN_PACKAGES:
        raise problem
    return f"vyry {command} needs the node: pip install 'vyry[node]'"


def _error_lines(problem: Exception) -> tuple[int, Sequence[str]]:
    match problem:
        case CycloptsError():
            return 2, [f"{str(problem).strip()} Run `vyry --help` for the list of commands."]
        case ConfigurationError():
            return 2, [*problem.problems, "Settings are environment variables; .env.example lists them all."]
        case Unavailable():
            return 1, [
                f"{problem.problem} Check that it is running and that DATABASE_URL is right; run `vyry check` for details."
            ]
        case _:
            text = (
                stdout_error_text(problem)
                if isinstance(problem, OSError) and is_stdout_error(problem)
                else str(problem)
            )
            return getattr(problem, "code", 1), [text]


if __name__ == "__main__":
    sys.exit(main())
