"""The settings of the operator's listener and of traces: what does not do stops the start with one line that says so."""

from pathlib import Path

import pytest

from vyry.settings import monitoring
from vyry.settings.settings import Role, Settings, SettingsError, load_settings


def load(folder: Path, **names: str) -> Settings:
    return load_settings(Role.TOOL, {"VYRY_DATA_DIR": str(folder), "VYRY_ENV": "development", **names})


def test_the_token_is_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x" * 32 + "\n")

    assert load(tmp_path, VYRY_ADMIN_TOKEN_FILE=str(tmp_path / "token")).admin_token == "x" * 32
    assert load(tmp_path).admin_token == ""


@pytest.mark.parametrize(
    ("content", "problem"), [("", "is empty"), ("x" * 31, "holds less than 32 characters"), (None, "cannot be read")]
)
def test_a_token_that_does_not_do_is_refused_without_its_value(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)

    with pytest.raises(SettingsError) as refused:
        load(tmp_path, VYRY_ADMIN_TOKEN_FILE=str(tmp_path / "token"))

    (line,) = refused.value.problems
    assert line.startswith("VYRY_ADMIN_TOKEN_FILE ")
    assert problem in line
    assert "xxx" not in line


@pytest.mark.parametrize(
    "url",
    [
        "collector:4318",
        "ftp://collector",
        "http://",
        "http://user:secret@collector:4318/v1/traces",
        "http://a/?token=x",
    ],
)
def test_a_receiver_of_traces_is_an_address_without_secrets(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, VYRY_TRACES_URL=url)

    assert list(refused.value.problems) == [
        "VYRY_TRACES_URL must be the address of an OTLP receiver such as http://127.0.0.1:4318/v1/traces."
    ]


@pytest.mark.parametrize("share", ["0", "1.01", "-1", "all"])
def test_the_share_of_traced_posts_is_above_0_and_at_most_1(tmp_path: Path, share: str) -> None:
    with pytest.raises(SettingsError):
        load(tmp_path, VYRY_TRACES_SHARE=share)


def test_without_the_extra_traces_are_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "find_spec", lambda _: None)

    with pytest.raises(SettingsError) as refused:
        load(tmp_path, VYRY_TRACES_URL="http://127.0.0.1:4318/v1/traces")

    assert list(refused.value.problems) == [
        "VYRY_TRACES_URL needs the extra `otel`: pip install 'vyry[node,otel]', or unset it."
    ]
