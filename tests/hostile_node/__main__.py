"""`python -m tests.hostile_node --node URL --port N [--lie NAME ...] [--seed N]`: a lying node for a client of any language; `--list` names the lies.

A lie begins once the client knows somebody; it is switched, and what was seen is asked for, at /hostile (tests/hostile_node/control_api.py).
"""

import argparse
import asyncio

from tests.hostile_node.catalogue import LIES, UNDETECTED_LIES
from tests.hostile_node.proxy import open_proxy


def _listed() -> str:
    lines = [f"{name:27} {lie.summary()}\n{'':27} ends in: {', '.join(lie.detected_by)}" for name, lie in LIES.items()]
    lines += [f"{name:27} later: {why}" for name, why in UNDETECTED_LIES.items()]
    return "\n".join(lines)


async def _serve(asked: argparse.Namespace) -> None:
    async with open_proxy(asked.node, asked.seed, asked.port) as proxy:
        proxy.switches.wanted += asked.lie
        print(f"lying at {proxy.url}, in front of {proxy.node_url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile_node", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the lies and the events that end them")
    parser.add_argument("--node", help="the URL of the real node")
    parser.add_argument("--port", type=int, default=0, help="where to serve on the loopback")
    parser.add_argument(
        "--lie", action="append", default=[], choices=sorted(LIES), help="lie in this way; may be repeated"
    )
    parser.add_argument("--seed", type=int, help="what lies draw from")
    asked = parser.parse_args()
    if asked.list:
        print(_listed())
        return
    if not asked.node:
        parser.error("--node is needed")
    try:
        asyncio.run(_serve(asked))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
