"""In which conversation a message was posted: what its sender may learn of its copies depends on it (docs/protocol.md, "What became of a post").

Rows of before name none, and nodes of the release before go on inserting without: of such a post nothing is told but that it was accepted, unless to friends.
"""

from typing import Final

from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from migrations._room_postgres import POST


#: Nodes of the release before go on calling the function with one array less.
_POST_WITH_CONVERSATION: Final = (
    POST.replace("c_share uuid[],\n  OUT", "c_share uuid[], m_conversation uuid[],\n  OUT")
    .replace("accepted_at, mailboxes, numbers)\n", "accepted_at, mailboxes, numbers, conversation_id)\n")
    .replace(
        "coalesce(mail_post.numbers[k.first:k.last], '{}')\n",
        "coalesce(mail_post.numbers[k.first:k.last], '{}'), k.conversation\n",
    )
    .replace(
        "unnest(m_sender, m_id, m_fingerprint, m_at, m_first, m_last) k(sender, id, fingerprint, at, first, last)",
        "unnest(m_sender, m_id, m_fingerprint, m_at, m_first, m_last, m_conversation) k(sender, id, fingerprint, at, first, last, conversation)",
    )
)
_ARRAYS: Final = "bigint[], uuid[], bytea[], timestamptz[], timestamptz[], smallint[], int[], int[], int[], int[], int[], bytea[], int[], bigint[], int[], bytea[], int[], boolean[], uuid[], uuid[]"
_FORGET: Final = "ALTER TABLE message DROP COLUMN conversation_id"
_CREATE: Final = {
    "postgres": ("ALTER TABLE message ADD COLUMN conversation_id uuid", _POST_WITH_CONVERSATION),
    # Here the store names it (vyry/adapters/sqlite_posting.py).
    "sqlite": ("ALTER TABLE message ADD COLUMN conversation_id BLOB",),
}
_DROP: Final = {
    "postgres": (
        f"DROP FUNCTION mail_post(uuid[], int[], uuid[], int[], bigint[], int[], int, bigint, int, bigint, {_ARRAYS})",
        _FORGET,
    ),
    "sqlite": (_FORGET,),
}


async def note_conversations(_apps: object, editor: BaseSchemaEditor) -> None:
    """Have posts say in which conversation they are."""
    for statement in _CREATE[editor.DIALECT]:
        await editor.client.execute_query(statement)


async def forget_conversations(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo note_conversations."""
    for statement in _DROP[editor.DIALECT]:
        await editor.client.execute_query(statement)
