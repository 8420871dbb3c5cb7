"""SQL statements as files beside the stores that run them: in a file each statement follows a line `-- name: ...`."""

import re
from importlib.resources import files


def load_statements(path: str) -> dict[str, str]:
    """The statements of a file of this package, by name."""
    text = files("vyry.storage").joinpath(path).read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}
