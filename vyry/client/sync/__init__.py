"""Receiving and sending: mailbox entries become events, contents become sealed posts, and keys are published in time. Every step is one transaction of the store."""
