"""`vyry completion`: what a shell needs to complete this command."""

from typing import Literal

from vyry.cli.main import app


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion of all commands and options for a shell.

    bash: `source <(vyry completion bash)`. zsh: `vyry completion zsh > ~/.zfunc/_vyry`, with ~/.zfunc in fpath before compinit.
    fish: `vyry completion fish > ~/.config/fish/completions/vyry.fish`.

    Args:
        shell: Which one.
    """
    print(app.generate_completion(prog_name="vyry", shell=shell))  # nosec B604 - the name of a shell, which runs nothing
    return 0
