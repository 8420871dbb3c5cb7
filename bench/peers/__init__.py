"""One program a library, each measured in a process of its own by bench/ratchet.py: what it prints is {measurement: messages a second} as JSON.

Nothing of Vyry imports these libraries. They are fetched for a measurement alone, into a folder of their own (requirements.txt beside this; the
official Signal library as scripts/install-services has it).
"""
