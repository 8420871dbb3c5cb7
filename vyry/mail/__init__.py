"""The seven steps of an envelope. What the database promises for each is in store.py.

post         the node checks a post and commits its envelopes: from here none is lost      (posting.py, draft.py)
route        the mailbox goes to this node's depositor, or into a work record              (routing.py, work_record.py)
deposit      the envelope gets the next seq and head of its mailbox, under the row lock    (depositing.py)
notify       the node that has the device's socket gets a hint without content             (routing.py)
collect      entries are read after a cursor, in order, for many sockets at once           (mailbox.py)
deliver      the socket gets entries within a bounded unacknowledged window                (web/live)
acknowledge  a cumulative (seq, head) deletes the entries that the device has stored       (mailbox.py)

notices.py posts what the node itself has to say, receipts.py shows what became of a post, capacity.py has the quotas of a mailbox.
"""
