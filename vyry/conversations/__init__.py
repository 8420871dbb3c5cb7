"""Conversations: membership decides which accounts may post to each other.

conversations.py has the values, direct conversations and the cache; groups.py the changes of a group; invite_links.py joins by a token, invitations.py
memberships that the invited account has to accept.
"""
