"""Why a command does not even begin."""


class CannotServe(Exception):
    """What this process needs is taken or not ready; its text is one line that says what to do."""
