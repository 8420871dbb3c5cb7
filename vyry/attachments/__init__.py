"""Attachments: files of ciphertext that people send each other, uploaded in pieces that survive any interruption."""
