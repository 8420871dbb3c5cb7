"""The docs page: everything is on it, and it loads nothing from anywhere."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

from web.app import build_documents
from web.routes import ROUTES
from web.wire.frames import FRAMES


PAGE = build_documents()["docs"].body.decode()
POLICY = build_documents()["docs"].policy


class Loaded(HTMLParser):
    """Collects what a browser would fetch, and what runs in the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [
            tag for name, _ in attrs if name in {"src", "srcset", "data"} or (tag == "link" and name == "href")
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]


def test_every_route_and_frame_is_on_the_page() -> None:
    assert [route.path for route in ROUTES if f"</span> {route.path}</code>" not in PAGE] == []
    assert [frame.name for frame in FRAMES if f"</span> {frame.name}</code>" not in PAGE] == []


def test_the_page_fetches_nothing_and_has_no_code_in_attributes() -> None:
    loaded = Loaded()

    loaded.feed(PAGE)

    assert (loaded.fetched, loaded.handlers) == ([], [])
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", PAGE)


def test_its_policy_allows_exactly_its_own_style_and_script() -> None:
    def allowed(tag: str) -> list[str]:
        inside = re.findall(f"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        return [b64encode(sha256(each.encode()).digest()).decode() for each in inside]

    assert POLICY.startswith("default-src 'none'; ")
    assert [f"'sha256-{each}'" for each in [*allowed("style"), *allowed("script")]] == re.findall(
        r"'sha256-[^']+'", POLICY
    )
    assert "unsafe" not in POLICY
