"""Credentials of calls, and the settings they are made of."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from vyry.kernel.ids import UserId
from vyry.settings.settings import Role, SettingsError, load_settings
from vyry.signals.calls import TurnCredentials


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANN, BO = UserId(UUID(int=1)), UserId(UUID(int=2))
URL = "turn:turn.example.org:3478?transport=udp"


def test_a_node_without_a_relay_gives_no_credentials() -> None:
    assert TurnCredentials([], b"", 60).ice_servers(ANN, NOON) == []


def test_credentials_name_when_they_end_and_nobody() -> None:
    turn = TurnCredentials([URL], b"a-secret-of-the-relay", 3600)

    (ann,), (bo,), (later,) = (
        turn.ice_servers(ANN, NOON),
        turn.ice_servers(BO, NOON),
        turn.ice_servers(ANN, NOON + timedelta(seconds=1)),
    )

    ends = {int(each.username.partition(":")[0]) - round(NOON.timestamp()) for each in (ann, bo)}
    assert ends == {3600}
    assert len({each.username.partition(":")[2] for each in (ann, bo, later)}) == 3
    assert len({ann.credential, bo.credential, later.credential}) == 3


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"VYRY_TURN_URLS": URL}, "VYRY_TURN_URLS and VYRY_TURN_SECRET_FILE belong together: set both, or neither."),
        (
            {"VYRY_TURN_URLS": URL, "VYRY_TURN_SECRET_FILE": "missing"},
            "VYRY_TURN_SECRET_FILE cannot be read: FileNotFoundError.",
        ),
        (
            {"VYRY_TURN_URLS": URL, "VYRY_TURN_SECRET_FILE": "short"},
            "VYRY_TURN_SECRET_FILE holds less than 16 characters: it is no secret.",
        ),
        ({"VYRY_TURN_URLS": "https://turn.example.org"}, "VYRY_TURN_URLS must be addresses such as"),
    ],
)
def test_half_a_relay_is_refused_with_one_line(given: dict[str, str], problem: str, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    if file := given.get("VYRY_TURN_SECRET_FILE"):
        given = given | {"VYRY_TURN_SECRET_FILE": str(tmp_path / file)}

    with pytest.raises(SettingsError) as refused:
        load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path / "data"), **given})

    assert problem in str(refused.value)
