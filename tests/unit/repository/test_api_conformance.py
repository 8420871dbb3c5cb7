"""The check of answers and frames against the documents finds planted bugs."""

from typing import Any

import pytest

from tests.support.api_conformance import assert_documented, assert_frame_documented


REQUEST = "0198c2d4-7a00-7000-8000-000000000000"
HEALTHY = {"status": "ok", "service": "vyry-api", "version": "1.0.0"}
INVALID_OTP = {"error": "x", "error_code": "INVALID_OTP", "request_id": REQUEST, "attempts_remaining": 3}


def test_promised_answers_and_frames_pass() -> None:
    assert_documented("GET", "/health", 200, HEALTHY)
    assert_documented("POST", "/api/v1/auth/verify-otp", 400, INVALID_OTP)
    assert_frame_documented({"type": "drained", "payload": {"seq": 0}})
    assert_frame_documented({"type": "acknowledged", "ref": "1", "payload": {"cursor": {"seq": 1, "head": bytes(32)}}})


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/health", 200, {**HEALTHY, "more": 1}),
        ("/health", 200, {"status": "ok"}),
        ("/health", 201, HEALTHY),
        ("/nowhere", 200, {}),
        ("/api/v1/keys/status", 401, INVALID_OTP),
        ("/api/v1/devices", 200, {"devices": [{}], "epoch": 0, "maxDevices": 6, "nextCursor": None}),
    ],
)
def test_another_answer_than_promised_is_noticed(path: str, status: int, body: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert_documented("GET", path, status, body)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "drained", "payload": {"seq": -1}},
        {"type": "drained", "payload": {"seq": 0, "more": 1}},
        {"type": "entries", "payload": {"entries": [{"seq": 1}]}},
        {"type": "acknowledged", "ref": "1", "payload": {"cursor": {"seq": 1, "head": bytes(31)}}},
        {"type": "acknowledged", "payload": {"cursor": {"seq": 1, "head": bytes(32)}}},
    ],
)
def test_another_frame_than_promised_is_noticed(frame: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert_frame_documented(frame)
