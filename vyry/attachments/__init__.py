"""Attachments: encrypted files that accounts send each other, with resumable uploads.

attachment.py has the values and stores, service.py the operations of a caller and of the sweeper, slots.py limits transfers, upload.py writes parts.
"""
