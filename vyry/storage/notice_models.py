"""The table of notices that wait for room, as Tortoise sees it (vyry/storage/deferred_notices.py)."""

from tortoise import fields
from tortoise.models import Model


class DeferredNoticeRow(Model):
    """A notice for which a mailbox had no room, until it has some."""

    id = fields.BigIntField(primary_key=True)
    mailbox = fields.BigIntField()
    #: Its kind and what it is about, of one at most one waits, the newest.
    subject = fields.CharField(max_length=255)
    #: The messageId it will have.
    notice_id = fields.UUIDField()
    body: fields.Field[dict[str, object]] = fields.JSONField()
    #: When it is tried again, null until the mailbox has more room for notices than now (a trigger).
    try_at = fields.DatetimeField(null=True, db_index=True)

    class Meta:
        table = "held_notice"
        unique_together = (("mailbox", "subject"),)
