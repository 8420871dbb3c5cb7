"""How late mail reached connected devices: from the answer `accepted` to the delivery, in a history of the traffic."""

from tests.support.history_checker import History, Outcome


def worst_lateness(history: History, *, after: float = 0.0, not_before: float = 0.0) -> float:
    """The longest time in seconds between an answered post and its delivery, among the posts answered after `after`.

    Time before `not_before` does not count: the database was down until then.
    """
    answered: dict[tuple[str, str], float] = {}
    for attempt in history.attempts:
        if attempt.outcome is Outcome.OK and not attempt.is_repeat:
            for device in attempt.target_devices:
                answered.setdefault((device, attempt.message_id), attempt.ended_at)
    delivered: dict[tuple[str, str], float] = {}
    for delivery in history.deliveries:
        delivered.setdefault((delivery.device, delivery.message_id or ""), delivery.at)
    return max(
        (delivered[key] - max(at, not_before) for key, at in answered.items() if key in delivered and at > after),
        default=0.0,
    )
