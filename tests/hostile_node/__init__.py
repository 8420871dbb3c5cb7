"""A node that lies: a proxy between any client and a real node, with its lies one by one (trust.md, section 5). `python -m tests.hostile_node --list` names them."""
