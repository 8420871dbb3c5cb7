"""The node's peppers, for commands that read numbers."""

from vyry.accounts.phone import Pepper
from vyry.operator.secret_files import read_peppers
from vyry.settings import Settings


def load_pepper(settings: Settings) -> Pepper | None:
    """The node's peppers, where this machine has them: an account is found under any of them."""
    if not settings.pepper_file.exists():
        return None
    ring = read_peppers(settings.pepper.get_secret_value())
    return Pepper(ring, max(ring))
