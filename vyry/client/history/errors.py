"""Why an archive is refused. Nothing was written when one of these is raised."""

from vyry.client.errors import ClientError


class ArchiveRefused(ClientError):
    """An archive cannot be read; `reason` is the name in docs/history.md and in the vectors."""

    reason = "damaged"
    text = "The file is damaged: use another copy of it."

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.text)


class NotAnArchive(ArchiveRefused):
    """The file does not begin as an archive does."""

    reason = "notAnArchive"
    text = "The file is no backup of this client: give the file that `vyry client backup` wrote."


class NewerArchive(ArchiveRefused):
    """The version of the archive is not known."""

    reason = "newerVersion"
    text = "The file was made by a newer version: install that version, then restore again."


class WrongKey(ArchiveRefused):
    """The archive was sealed under another key."""

    reason = "wrongKey"
    text = "The recovery key belongs to another backup: enter the key that was shown for this file."


class CutArchive(ArchiveRefused):
    """The archive has no end."""

    reason = "cut"
    text = "The file is not complete: its end is missing. Use another copy of it."


class Damaged(ArchiveRefused):
    """A frame was changed, moved, repeated or removed, or is not valid."""


class MistypedKey(ArchiveRefused):
    """The text is no recovery key."""

    reason = "mistypedKey"
    text = "The recovery key has a typing error: it has 14 groups of 4 characters. Compare it and enter it again."


class ImportPending(ClientError):
    """Another archive is half imported."""

    def __init__(self) -> None:
        super().__init__(
            "Another restore is not finished: run it again with its file, or drop it with `vyry client restore --drop`."
        )
