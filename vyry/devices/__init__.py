"""The devices of accounts, as their peers and the node see them.

Keys: keyset.py (values), key_validation.py (what a key must be), prekeys.py (publish and claim), restore_detection.py (no key twice after a restore).
Device lists: device_lists.py. Linking a device: linking.py over links.py and link_watcher.py. Push: push.py, endpoints.py and push_wakeups.py.
"""
