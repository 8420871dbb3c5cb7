"""What the node and the SDK share; imports neither of them.

Ids, times in milliseconds, the hash chain of a mailbox, the sizes of the protocol, clean display text, phone numbers, and checks of URLs.
"""
