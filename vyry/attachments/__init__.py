"""Attachments: encrypted files that accounts send each other, with resumable uploads.

attachment.py has the values and stores, service.py the operations of a caller (with the quotas of slots.py), upload.py writes parts, upkeep.py deletes.
"""
