"""The text form of a recovery code: 16 random bytes and 4 check bytes, as eight groups of four characters (docs/protocol.md, "Recovery code")."""

from typing import Final

from vyry.kernel.grouped_base32 import GroupedBase32


RECOVERY_CODE: Final = GroupedBase32(label=b"vyry recovery code 1\0", secret_bytes=16, check_bytes=4)
