"""What was sealed opens with its key only, and only as a whole."""

import io
from base64 import b64decode
from pathlib import Path

import pyrage
import pytest

from vyry.operator.backup.errors import BackupError
from vyry.operator.backup.sealing import (
    Seal,
    Unseal,
    WrongKey,
    new_key_pair,
    seal_with_passphrase,
    seal_with_public_keys,
    sealing,
    unsealing,
)


CONTENT = b"0123456789abcdef" * 10_000
PASSPHRASE = "a passphrase of some length"
#: A file of format 1, which has to stay readable: "vector" under the passphrase "vector of format 1". The private key is argon2id's output in the form of age.
VECTOR_LINE = b"vyry-backup 1 passphrase 8192 1 AAECAwQFBgcICQoLDA0ODw==\n"
VECTOR_KEY = "AGE-SECRET-KEY-1V3NHGLQNMMV8SY84Y79SQ9TFWQ62EXJLUJYJ33U2HRRFYG26JYLQKK0QCM"
VECTOR = VECTOR_LINE + b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB4K2R0aUhKOGpxWlFhQktBZkp0eWVpd3lGNWpLVXhHczBSMklmMEJlYWlJCkFaM0NXdmZ6ZExoMGRTc1ZG"
    "aGZPTHQ3UzZhK2YydEw3OUxremRhc1NQV3MKLT4gaUhye2UtZ3JlYXNlIFk5Oz9vTEEKU05ObTJob3hxRGhWWHBkeEwrSlEzUDdMRDZzZQotLS0gUEZ0NWFRRWlN"
    "RE9KM2NPa2Rsa0NqM1RCdjJFREFLYnlXRHVxVmxvUkxmTQrrXV05XsfhttKvrP4uW7F9sxuN1R1sMfSXy05Ee+x2UvEXO3asnA=="
)


def seal(content: bytes, under: Seal) -> bytes:
    file = io.BytesIO()
    with sealing(file, under) as stream:
        stream.write(content)
    return file.getvalue()


def unseal(sealed: bytes, key: Unseal) -> bytes:
    with unsealing(io.BytesIO(sealed), key) as stream:
        return stream.read()


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    return new_key_pair()


@pytest.fixture(scope="module")
def sealed(pair: tuple[str, str]) -> bytes:
    return seal(CONTENT, seal_with_public_keys([pair[1]]))


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_a_passphrase_opens_what_it_sealed(content: bytes) -> None:
    assert unseal(seal(content, seal_with_passphrase(PASSPHRASE)), Unseal(passphrase=PASSPHRASE)) == content


def test_the_vector_of_the_format_opens_with_its_passphrase_and_with_the_key_made_of_it() -> None:
    age_file = VECTOR.removeprefix(VECTOR_LINE)

    assert unseal(VECTOR, Unseal(passphrase="vector of format 1")) == b"vector"
    assert pyrage.decrypt(age_file, [pyrage.x25519.Identity.from_str(VECTOR_KEY)]) == b"vector"


def test_each_private_key_opens_what_was_sealed_under_several(pair: tuple[str, str]) -> None:
    other = new_key_pair()
    sealed = seal(CONTENT, seal_with_public_keys([pair[1], other[1]]))

    assert [unseal(sealed, Unseal(private_keys=f"# a note\n{key}\n")) for key, _ in (pair, other)] == [CONTENT, CONTENT]


def test_the_process_that_sealed_can_read_its_file_again_without_the_private_key(pair: tuple[str, str]) -> None:
    under = seal_with_public_keys([pair[1]])

    assert unseal(seal(CONTENT, under), under.unseal) == CONTENT


def test_age_alone_opens_what_follows_the_first_line(sealed: bytes, pair: tuple[str, str]) -> None:
    line, _, rest = sealed.partition(b"\n")

    assert line == b"vyry-backup 1 key"
    assert pyrage.decrypt(rest, [pyrage.x25519.Identity.from_str(pair[0])]) == CONTENT


@pytest.mark.parametrize(
    "key",
    [Unseal(passphrase="another passphrase"), Unseal(private_keys=new_key_pair()[0])],
    ids=["passphrase", "private key"],
)
def test_another_key_is_refused(key: Unseal, sealed: bytes) -> None:
    file = seal(CONTENT, seal_with_passphrase(PASSPHRASE)) if key.passphrase else sealed

    with pytest.raises(WrongKey, match="does not open this backup"):
        unseal(file, key)


@pytest.mark.parametrize("length", [0, 5, 17, 18, 100, 300, 65_700, -1])
def test_a_file_that_was_cut_is_refused(sealed: bytes, pair: tuple[str, str], length: int) -> None:
    with pytest.raises(BackupError, match=r"damaged"):
        unseal(sealed[:length], Unseal(private_keys=pair[0]))


@pytest.mark.parametrize("place", [0, 40, 200, 450, 70_000, -1])
def test_a_changed_byte_is_refused(sealed: bytes, pair: tuple[str, str], place: int) -> None:
    changed = bytearray(sealed)
    changed[place] ^= 1

    with pytest.raises(BackupError):
        unseal(bytes(changed), Unseal(private_keys=pair[0]))


def test_bytes_behind_the_end_are_refused(sealed: bytes, pair: tuple[str, str]) -> None:
    with pytest.raises(BackupError, match="damaged"):
        unseal(sealed + b"more", Unseal(private_keys=pair[0]))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"vyry-backup 2 key\n", "has format 2, and this release reads formats up to 1"),
        (b"vyry-backup 1 passphrase 99999999999 3 AAAA\n", "first line"),
        (b"vyry-backup 1 passphrase 8192 99999 AAAA\n", "first line"),
        (b"vyry-backup 1 passphrase 0 0 AAAA\n", "first line"),
        (b"vyry-backup 1 passphrase 8192 3 ?\n", "first line"),
        (b"vyry-backup 1 passphrase\n", "first line"),
        (b"SQLite format 3\0\n", "first line"),
        (b"x" * 5000, "first line"),
    ],
)
def test_a_first_line_that_is_not_of_this_format_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        unseal(line, Unseal(passphrase="p"))


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        (b"vyry-backup 1 key\n", Unseal(passphrase="p"), "--key-file"),
        (VECTOR_LINE, Unseal(private_keys="k"), "--passphrase-file"),
        (b"vyry-backup 1 key\n", Unseal(private_keys="no key"), "no private key of age"),
        (b"vyry-backup 1 key\n", Unseal(private_keys="AGE-SECRET-KEY-1X"), "no private key of age"),
    ],
)
def test_a_key_of_the_wrong_kind_is_named(line: bytes, key: Unseal, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        unseal(line, key)


def test_a_text_that_is_no_public_key_is_refused() -> None:
    with pytest.raises(BackupError, match="vyry backup keygen"):
        seal_with_public_keys(["age1nothing"])


def test_an_error_of_the_file_is_the_error_of_the_writer(pair: tuple[str, str]) -> None:
    def write() -> None:
        with (
            Path("/dev/full").open("wb", buffering=0) as file,
            sealing(file, seal_with_public_keys([pair[1]])) as stream,
        ):
            stream.write(CONTENT * 100)

    with pytest.raises(OSError, match="No space left"):
        write()


@pytest.mark.parametrize("mistake", [KeyError, BackupError])
def test_an_error_of_the_reader_stays_its_own(sealed: bytes, pair: tuple[str, str], mistake: type[Exception]) -> None:
    def read() -> None:
        with unsealing(io.BytesIO(sealed), Unseal(private_keys=pair[0])) as stream:
            stream.read(1)
            raise mistake("of the reader")

    with pytest.raises(mistake, match="of the reader"):
        read()
