"""A node that lies: a proxy between any client and a real node, with its lies one by one. `python -m tests.hostile_node --list` names them."""
