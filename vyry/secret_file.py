"""A secret in a file, made where nobody gave one."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path


def write_secret(path: Path) -> None:
    """Make a secret file (0600) in a folder of its own (0700), whole or not at all; a file that is there already stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a rename would replace what another process has just made.
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
