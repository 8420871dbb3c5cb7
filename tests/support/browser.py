"""A headless Chromium, driven over its DevTools socket: one page, its document, and what its console said."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp


_START_SECONDS = 30.0
_WAIT_SECONDS = 20.0
_ATTEMPTS = 400


class BrowserPage:
    """One page of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        #: Problems that the browser logged: blocked scripts and styles, failed requests, exceptions.
        self.problems: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the DevTools protocol."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json(timeout=_WAIT_SECONDS)
            if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.problems.append(str(said["params"]))
            if said.get("id") == number:
                return said.get("result", {})

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def wait_for(self, expression: str, claim: Callable[[Any], bool]) -> Any:
        """The value of the expression once the claim holds for it."""
        for _ in range(_ATTEMPTS):
            if claim(value := await self.evaluate(expression)):
                return value
            await asyncio.sleep(0.05)
        raise TimeoutError(expression)

    async def open(self, url: str) -> None:
        """Load a page and wait until it is complete."""
        await self.call("Page.navigate", url=url)
        await self.wait_for(
            "[document.readyState, location.href]", lambda seen: seen == ["complete", url] or seen[1] != url
        )

    async def document(self) -> str:
        """The document as the browser has it, also when scripts are off; empty while another one is being loaded."""
        root = await self.call("DOM.getDocument", depth=0)
        answer = await self.call("DOM.getOuterHTML", nodeId=root["root"]["nodeId"])
        return str(answer.get("outerHTML", ""))

    async def wait_for_text(self, text: str) -> str:
        """The document once it contains this text."""
        for _ in range(_ATTEMPTS):
            if text in (found := await self.document()):
                return found
            await asyncio.sleep(0.05)
        raise TimeoutError(text)


@asynccontextmanager
async def open_browser(folder: Path, *, has_scripts: bool = True) -> AsyncIterator[BrowserPage]:
    """A browser with a profile in this folder."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program is not None, "Chromium is missing: run scripts/install-services"
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    process = await asyncio.create_subprocess_exec(
        program, *options, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = await _devtools_port(folder)
        async with aiohttp.ClientSession() as http:
            pages = await (await http.get(f"http://127.0.0.1:{port}/json/list")).json()
            address = next(each["webSocketDebuggerUrl"] for each in pages if each["type"] == "page")
            async with http.ws_connect(address, max_msg_size=1 << 24) as socket:
                page = BrowserPage(socket)
                for domain in ("Page", "Runtime", "Log", "DOM"):
                    await page.call(f"{domain}.enable")
                await page.call("Emulation.setScriptExecutionDisabled", value=not has_scripts)
                yield page
    finally:
        process.terminate()
        await process.wait()


async def _devtools_port(folder: Path) -> int:
    """The port that the browser chose, once it has written it."""
    async with asyncio.timeout(_START_SECONDS):
        while True:
            file = folder / "DevToolsActivePort"
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            await asyncio.sleep(0.05)
