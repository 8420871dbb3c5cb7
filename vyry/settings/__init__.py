"""The settings of a process, read from the environment once: settings.py loads and checks them.

attachments.py, calls.py, codes.py, push.py and workers.py have the settings of one topic each, types.py the types of all, secret_files.py the secrets in files.
"""
