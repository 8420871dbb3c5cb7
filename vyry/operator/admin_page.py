"""The operator's page: the tables of `vyry partitions` as HTML that works without scripts, and the same rows as JSON for its script."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from vyry.operator.cluster_rows import PARTITION_COLUMNS, WORKER_COLUMNS, ClusterRows, Row


_HERE: Final = Path(__file__).parent
STYLE: Final = (_HERE / "admin_page.css").read_text(encoding="utf-8")
SCRIPT: Final = (_HERE / "admin_page.js").read_text(encoding="utf-8")
#: Everything comes from this listener; nothing inline runs.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: Without scripts the browser loads the page anew in this time.
_REFRESH_SECONDS: Final = 5
_PROBLEM: Final = "The database is unavailable."


#: The answer comes as a page of its own, which does not change by itself.
_MAILBOX_FORM: Final = (
    '<form method="post" action="mailbox"><label>Explain the mailbox of a device (ACCOUNT/NUMBER, or a mailbox id) '
    '<input name="device" maxlength="128" autocomplete="off" required></label> <button>Explain</button></form>'
)


def render_page(rows: ClusterRows | None, *, explains: bool = False) -> str:
    """The page; None while the database is down. With `explains` it has the form for a mailbox."""
    summary = rows.summary if rows else _PROBLEM
    return _document(
        f'<noscript><meta http-equiv="refresh" content="{_REFRESH_SECONDS}"></noscript><script src="page.js" defer></script>',
        f'<p id="summary"{"" if rows else " class=bad"}>{escape(summary)}</p>'
        + _table("Partitions", "partitions", PARTITION_COLUMNS, rows.partitions if rows else ())
        + _table("Workers", "workers", WORKER_COLUMNS, rows.workers if rows else ())
        + (_MAILBOX_FORM if explains else ""),
    )


def render_mailbox(text: str) -> str:
    """The page that explains one mailbox."""
    return _document("", f'<p><a href="./">Partitions and workers</a></p><pre>{escape(text)}</pre>{_MAILBOX_FORM}')


def render_login(*, is_refused: bool) -> str:
    """The form that asks for the token. It is sent in a body, never in a URL."""
    refusal = '<p class="bad">This is not the token.</p>' if is_refused else ""
    return _document(
        "",
        f'{refusal}<form method="post" action="login"><label>Token of VYRY_ADMIN_TOKEN_FILE '
        '<input type="password" name="token" autocomplete="current-password" required autofocus></label> <button>Open</button></form>',
    )


def render_event(rows: ClusterRows | None) -> bytes:
    """What the script gets (text/event-stream)."""
    shown = {
        "summary": rows.summary if rows else _PROBLEM,
        "problem": rows is None,
        "tables": {
            "partitions": [(row.state, row.cells) for row in rows.partitions],
            "workers": [(row.state, row.cells) for row in rows.workers],
        }
        if rows
        else {},
    }
    return f"data: {json.dumps(shown)}\n\n".encode()


def _document(head: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>Vyry</title><link rel="stylesheet" href="page.css">{head}</head>'
        f"<body><h1>Vyry</h1>{body}</body></html>\n"
    )


def _table(caption: str, name: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    heads = "".join(f"<th scope=col>{escape(column)}</th>" for column in columns)
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f'<tbody id="{name}">{"".join(map(_row, rows))}</tbody></table>'
    )


def _row(row: Row) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells)
    return f'<tr class="{escape(row.state)}">{cells}</tr>'
