"""Why a backup, its verification or a restore failed."""

from vyry.errors import OperatorError


class BackupError(OperatorError):
    """The text is one line that says what to do. The target is as it was, unless the text says otherwise."""
