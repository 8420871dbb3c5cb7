"""Texts of pending decisions: what happened, how many messages wait, and the next command."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from vyry.cli.client.context import CommandContext
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.exit_codes import DECISIONS, CommandFailed, Exit, decision_for_reason
from vyry.cli.client.names import DisplayNames, account_word
from vyry.cli.client.terminal_text import sanitize_line
from vyry.client.api.client import Client
from vyry.client.sync.pending_decisions import Decision


_EXIT_CODES: Final = {"NOT_FOUND": Exit.NOT_FOUND, **dict.fromkeys(DECISIONS, Exit.DECIDE)}
#: What happened, by `decide`; {who} is the account.
_DECISION_TEXTS: Final = {
    "identityChanged": "the key of {who} has changed",
    "identityForged": "the node lists devices whose signatures do not verify",
    "conversationForged": "the node reports other members or another kind for this conversation than before",
}
#: The next step where no command can accept the change.
_NO_COMMAND_TEXT: Final = "nothing is sent until the node reports it correctly; ask the other person over another channel, and ask the operator of the node"


async def wait_until_sent(client: Client, context: CommandContext, chat: UUID, content_id: UUID) -> None:
    """Wait until the node has accepted the message. Raises CommandFailed when it was rejected, waits for a decision, or is sent later."""
    refused = (await flush_outbox(client, chat, content_id)).get(content_id)
    if not refused:
        return
    code, decision = _EXIT_CODES.get(refused, Exit.REFUSED), decision_for_reason(refused)
    if not decision:
        raise CommandFailed(code, f"Not sent: {sanitize_line(refused)}.")
    body = {**decision, "id": str(content_id), "conversationId": str(chat), "kept": True}
    raise CommandFailed(code, f"{refused}: {await _kept_text(client, context, chat, decision['decide'])}", body)


def next_step(context: CommandContext, decide: str, who: str) -> str:
    """The next step for the user."""
    if decide != "identityChanged":
        return _NO_COMMAND_TEXT
    return (
        f"compare the new safety number with {who}, then run: {context.command_line('safety', who, '--accept')} DIGITS"
    )


def summarize_decisions(decisions: Sequence[Decision], names: Sequence[str]) -> str:
    """The reasons and the counts of waiting messages, in a few words; `names` are those of the accounts, in the same order. Empty without decisions."""
    parts = [decision_text(each.decide, name) for each, name in zip(decisions, names, strict=True)]
    waiting = max((each.waiting for each in decisions), default=0)
    held = sum(each.held for each in decisions)
    counts = [_count_text(waiting, "is waiting", "are waiting") + " to be sent"] if waiting else []
    counts += [_count_text(held, "is waiting", "are waiting") + " to be decrypted"] if held else []
    return "; ".join([*dict.fromkeys(parts), *counts])


def decision_text(decide: str, who: str) -> str:
    """The event that requires the decision, in a few words."""
    return _DECISION_TEXTS[decide].format(who=who)


def decision_fields(decisions: Sequence[Decision]) -> dict[str, Any]:
    """JSON fields of a conversation: the first decision, the accounts, and how many messages wait. Empty without decisions."""
    if not decisions:
        return {}
    about = sorted(str(each.user_id) for each in decisions if each.user_id is not None)
    waiting, held = max(each.waiting for each in decisions), sum(each.held for each in decisions)
    return {"decide": decisions[0].decide, "decideAbout": about, "waiting": waiting, "held": held}


async def account_names(names: DisplayNames, decisions: Sequence[Decision]) -> list[str]:
    """The names of the accounts of these decisions; an empty text for a decision without an account."""
    return [await names.load(each.user_id) if each.user_id is not None else "" for each in decisions]


async def _kept_text(client: Client, context: CommandContext, chat: UUID, decide: str) -> str:
    found = [
        each for each in client.conversations.decisions.of(chat) if each.decide == decide and each.user_id is not None
    ]
    user_id = found[0].user_id if found else None
    who = account_word(client, user_id) if user_id is not None else "the other person"
    step = next_step(context, decide, who)
    return f"{decision_text(decide, who)}. The message is stored and will be sent after you decide: {step}"


def _count_text(number: int, one: str, more: str) -> str:
    return f"{number} message {one}" if number == 1 else f"{number} messages {more}"
