"""The composition of a process: from settings to services.

shared.py builds what most services depend on, accounts.py and push.py the services of one topic, services.py the rest; `open_services` runs them.
"""
