"""Why a backup, its verification or a restore failed."""

from vyry.errors import CommandError


class BackupError(CommandError):
    """The text is one line that says what to do. The target is as it was, unless the text says otherwise."""
