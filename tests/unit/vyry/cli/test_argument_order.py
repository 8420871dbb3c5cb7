"""What people say is never an option, whatever it begins with; and options work wherever they stand."""

from collections.abc import Sequence

import pytest

from vyry.cli.command_line import sort_arguments
from vyry.cli.errors import UsageError
from vyry.cli.main import app


ID = "0197f6a2-5b1c-7000-8000-3f6d2a9c1e55"
#: What people wrote that began with a hyphen.
TEXTS = ["-5 degrees", "--help", "-h", "--version", "- milk", "-", "--", "-5", "-x", "--profile", "--jsonx", "--a=b"]


def parsed_arguments(*words: str) -> tuple[object, ...]:
    """What the command is called with, its options aside."""
    _, arguments, _ = app.parse_args(sort_arguments(app, words), exit_on_error=False, print_error=False)
    return arguments.args


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("send", "@bo {}"),
        ("edit", f"@bo {ID} {{}}"),
        ("react", f"@bo {ID} {{}}"),
        ("groups rename", "Walks {}"),
        ("devices rename", "1 {}"),
        ("files send", "@bo photo.jpg {}"),
        ("files get", f"@bo {ID} {{}}"),
    ],
)
def test_a_text_is_a_text(command: str, said: str, text: str) -> None:
    words = [each.format(text) for each in said.split()]

    plain = parsed_arguments("client", *command.split(), *words, "--profile", "ann")

    assert [str(each) for each in plain] == words


@pytest.mark.parametrize("name", ["-photo.jpg", "--help", "-", "--version"])
def test_a_name_of_a_file_is_one(name: str) -> None:
    assert [str(each) for each in parsed_arguments("client", "files", "send", "@bo", name, "--profile", "ann")] == [
        "@bo",
        name,
    ]
    assert [str(each) for each in parsed_arguments("client", "export", "--", name)] == [name]


@pytest.mark.parametrize("title", ["- shopping -", "-5", "-x", "--jsonx", "--help", "-h", "--version"])
def test_a_title_that_comes_first_is_a_title(title: str) -> None:
    assert parsed_arguments("client", "groups", "create", title, "@bo", "--profile", "ann") == (title, "@bo")
    assert parsed_arguments("client", "send", title, "hello", "--profile", "ann") == (title, "hello")


@pytest.mark.parametrize("title", ["--help", "-h", "--version", "--json"])
def test_a_title_that_asks_about_the_command_stands_behind_the_end_of_options(title: str) -> None:
    assert parsed_arguments("client", "groups", "create", "--profile", "ann", "--", title, "@bo") == (title, "@bo")


@pytest.mark.parametrize("name", ["--username", "--name", "--bio", "--sealed-name", "--about"])
@pytest.mark.parametrize("text", ["-dash", "--help", "-h", "--version", "--"])
def test_the_value_of_an_option_is_a_text(name: str, text: str) -> None:
    _, arguments, _ = app.parse_args(
        sort_arguments(app, ["client", "profile", name, text, "--profile", "ann"]),
        exit_on_error=False,
        print_error=False,
    )

    assert getattr(arguments.kwargs["changes"], name[2:].replace("-", "_")) == text
    assert arguments.kwargs["context"].profile == "ann"


@pytest.mark.parametrize(
    "words",
    [
        ("client", "send", "@bo", "hello", "--json", "--profile", "ann"),
        ("client", "send", "--json", "@bo", "--profile", "ann", "hello"),
        ("client", "send", "--profile=ann", "@bo", "--json", "--", "hello"),
    ],
)
def test_options_work_wherever_they_stand(words: Sequence[str]) -> None:
    _, arguments, _ = app.parse_args(sort_arguments(app, words), exit_on_error=False, print_error=False)

    assert arguments.args == ("@bo", "hello")
    assert (arguments.kwargs["context"].profile, arguments.kwargs["context"].json) == ("ann", True)


def test_the_name_of_an_option_is_a_text_behind_the_end_of_options() -> None:
    assert parsed_arguments("client", "send", "@bo", "--", "--json") == ("@bo", "--json")


@pytest.mark.parametrize(
    "words",
    [
        ["client", "send", "--help"],
        ["client", "groups", "create", "--help", "--profile", "ann"],
        ["client", "--help"],
        ["client", "whois", "@bo", "--refesh"],
        ["client", "history", "--limt", "10", "@bo"],
        ["client", "send", "@bo", "hello", "--profil", "ann"],
        ["client", "nothing"],
        ["client", "whoami", "--profile"],
        [],
    ],
)
def test_what_asks_about_a_command_or_is_mistyped_stays_as_it_is(words: list[str]) -> None:
    assert sort_arguments(app, words) == words


def test_words_that_are_no_text_are_refused_and_names_of_files_are_not() -> None:
    broken = b"na\xefve".decode(errors="surrogateescape")

    with pytest.raises(UsageError, match="UTF-8"):
        sort_arguments(app, ["client", "send", "@bo", broken])
    assert sort_arguments(app, ["client", "files", "send", "@bo", broken])[-1] == broken
