"""A QR code in the terminal. On standard error, since programs read standard output."""

import sys

import segno


def print_qr_code(text: str) -> None:
    """Print the QR code of this text."""
    segno.make(text, error="l").terminal(out=sys.stderr, compact=True)
