"""The code of a device that asks to be linked is opened by `Links.scan` alone: false invites to groups are a known way to be let into an account."""

import re
from typing import Final

from vyry.client.errors import LinkCode


#: The whole code, or what is left of it when only the part behind the last slash was taken.
_LINK_CODE: Final = re.compile(r"(?:^|[/:])link\?", re.IGNORECASE)


def check_no_link_code(text: str) -> None:
    """Call it before a text of a person goes to the node as a name or token: a link code holds a secret that the node must not see. Raises LinkCode."""
    if _LINK_CODE.search(text.strip()):
        raise LinkCode
