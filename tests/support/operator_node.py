"""Commands of the operator in the process of the test, with the settings of one node."""

import io
import json
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.cli_runner import CliResult, TtyInput
from vyry.cli.main import main


@dataclass(frozen=True)
class OperatorNode:
    """Where the operator types. The data folder is that of the node."""

    url: str
    data_dir: Path
    variables: Mapping[str, str]

    def run(self, *words: str | Path, typed: str = "") -> CliResult:
        """One command to its end; without a terminal unless something is typed."""
        stream = (TtyInput if typed else io.TextIOWrapper)(io.BytesIO(typed.encode()), "utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.data_dir),
            "VYRY_ENV": "development",
            "VYRY_DATA_DIR": str(self.data_dir),
            "DATABASE_URL": self.url,
            **self.variables,
        }
        said, complained = io.StringIO(), io.StringIO()
        before = os.umask(0o077)
        try:
            with (
                patch.dict("os.environ", environment, clear=True),
                patch("sys.stdin", stream),
                redirect_stdout(said),
                redirect_stderr(complained),
            ):
                code = main([str(word) for word in words])
        finally:
            os.umask(before)
        return CliResult(code, said.getvalue(), complained.getvalue())

    def run_json(self, *words: str | Path) -> dict[str, Any]:
        """The same with --json, and it has to work."""
        done = self.run(*words, "--json")
        assert (done.code, done.err) == (0, ""), done
        found: dict[str, Any] = json.loads(done.out)
        return found
