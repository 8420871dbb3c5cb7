"""The way of an envelope, in seven verbs.

post         a web node checks and commits it, unnumbered: from here it is never lost      (posting.py)
route        its mailbox is told to whoever deposits for it: this node, or a mailbag       (routing.py)
deposit      it gets the next number and head of its mailbox, under the row's lock         (depositing.py)
ring         the node that holds the device's socket is told, without content             (routing.py)
collect      entries are read after a cursor, in order, for many sockets at once           (mailbox.py)
deliver      frames are written within a bounded unacknowledged window                     (web/live)
acknowledge  a cumulative (seq, head) deletes what the device has safely                   (mailbox.py)
"""
