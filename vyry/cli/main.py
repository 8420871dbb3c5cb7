"""The command `vyry`: parses, runs, and turns whatever goes wrong into one line that says what to do, and an exit code.

0 done · 1 it failed, or `check` found something · 2 the command line or the settings are wrong; `vyry client` has more (docs/cli.md).
Each command's module is imported only when the command runs: a web process never loads Faust.
"""

import sys
from collections.abc import Sequence
from typing import Literal

from cyclopts import App, CycloptsError

from vyry import __version__
from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.command_line import sort_arguments
from vyry.cli.errors import CommandError
from vyry.cli.prompts import Terminated
from vyry.cli.stdio import flush_stdout, is_stdout_error, open_standard_streams, print_error, stdout_error_text
from vyry.errors import ConfigurationError, SchemaTooNew, SchemaTooOld, Unavailable


_HELP = """A self-hosted, end-to-end-encrypted messaging node.

`vyry start` needs nothing else and is the way to begin. A cluster runs `vyry migrate` once per release, then any number of
`vyry web` and `vyry worker`, on PostgreSQL, Redis and Kafka. Settings come from the environment: see .env.example."""
_COMMANDS = {
    "start": ("start:start", "Run a whole node in this process, on a file: for a laptop or a small team."),
    "web": ("web:web", "Run the front door of a cluster: REST and sockets."),
    "worker": ("worker:worker", "Run the sorting room of a cluster: mailbox agents and sweeper."),
    "migrate": ("schema:migrate", "Bring database and topic to this version; safe from several places at once."),
    "rollback": ("schema:rollback", "Undo the newest migration, and lose what only it had room for."),
    "check": ("check:check", "Tell what is wrong with settings, services, clock and disk."),
    "clock": ("clock:app", "Look at the time that the store has seen, or confirm this machine's clock."),
    "rotate-keys": ("rotation:rotate_keys", "Sign access tokens with a new key; after a leak drop all others."),
    "rotate-pepper": ("rotation:rotate_pepper", "Hide all phone numbers under a new pepper while nodes run."),
    "secrets": ("schema:secrets", "Make the secret files that are missing in the data folder."),
    "restored": (
        "restored:restored",
        "Say that the database was put back to an older state: burn its one-time prekeys.",
    ),
    "user": ("user:app", "Look at an account, suspend or resume it, end its devices, delete it."),
    "client": ("client.app:app", "Chat from the terminal, end to end."),
    "demo": ("demo:demo", "Two people chat on a throwaway node: the whole thing in one command."),
    "soak": ("soak:soak", "Let clients chat under load, and count what is lost."),
    "audit": ("operator:audit", "Read what operators did."),
    "completion": ("main:completion", "Print what bash, zsh or fish needs to complete this command."),
    "openapi": ("documents:openapi", "Print the OpenAPI 3.1 document of the REST surface."),
    "asyncapi": ("documents:asyncapi", "Print the AsyncAPI 3.0 document of the socket's frames."),
    "version": ("main:version", "Print the version."),
}
#: A module of these that cannot be imported is a bug, and no package that is not installed.
_OWN_PACKAGES = ("vyry", "web", "agents", "migrations")

app = App(name="vyry", help=_HELP, version=__version__, help_format="plaintext")
for _name, (_target, _text) in _COMMANDS.items():
    app.command(f"vyry.cli.{_target}", name=_name, help=_text)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code."""
    open_standard_streams()
    code, lines = _run_command(sys.argv[1:] if words is None else words)
    lost = flush_stdout()
    if lost:
        code, lines = code or 1, [lost]
    for line in lines:
        # What went wrong may have been said by a node, or hold what somebody else wrote.
        print_error(indent_continuation(f"vyry: {line}"))
    return code


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the completion of all commands and options for a shell.

    bash: `source <(vyry completion bash)`. zsh: `vyry completion zsh > ~/.zfunc/_vyry`, with ~/.zfunc in fpath before compinit.
    fish: `vyry completion fish > ~/.config/fish/completions/vyry.fish`.

    Args:
        shell: Which one.
    """
    for name in _COMMANDS:
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
    """For a command of the node where only the client is installed. Raises the error again when it is none of that kind."""
    missing = problem.__cause__ if isinstance(problem.__cause__, ImportError) else problem
    if command == "client" or str(missing.name).partition(".")[0] in _OWN_PACKAGES:
        raise problem
    return f"vyry {command} needs the node: pip install 'vyry[node]'"


def _error_lines(problem: Exception) -> tuple[int, Sequence[str]]:
    match problem:
        case CycloptsError():
            return 2, [f"{str(problem).strip()} `vyry --help` shows what there is."]
        case ConfigurationError():
            return 2, [*problem.problems, "Settings come from the environment; .env.example tells them all."]
        case Unavailable():
            return 1, [f"{problem.problem} Is it running, and is DATABASE_URL right? `vyry check` tells more."]
        case _:
            text = (
                stdout_error_text(problem)
                if isinstance(problem, OSError) and is_stdout_error(problem)
                else str(problem)
            )
            return getattr(problem, "code", 1), [text]


if __name__ == "__main__":
    sys.exit(main())
