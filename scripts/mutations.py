"""Mistakes that somebody could make in the client and its protocol, each with the test that must notice it (`python -m scripts.mutation_test`)."""

from typing import Final

from scripts.mutation import Mutation
from scripts.mutations_hot_path import FRAME_MUTATIONS, NUMBERED_POST_MUTATIONS


_IDENTITIES: Final = "tests/unit/vyry/client/test_identities.py"
_LISTS: Final = "tests/unit/vyry/client/test_device_lists.py"
_CONVERSATIONS: Final = "tests/unit/vyry/client/test_conversations.py"
_SEALING: Final = "tests/unit/vyry/client/test_sealing.py"
_SAFETY: Final = "tests/unit/vyry/client/test_safety_numbers.py"
_RESTORED: Final = "tests/e2e/test_client_restored.py"
_SESSIONS: Final = "vyry/signal_protocol/sessions.py"

_SESSION_MUTATIONS: Final = (
    Mutation(
        "a session of another identity opens",
        _SESSIONS,
        "if arrival.identity_key not in (None, session.peer.identity_key):",
        "if False:",
        "tests/unit/vyry/signal_protocol/test_sessions.py::test_a_session_of_another_identity_than_the_one_held_opens_nothing",
    ),
    Mutation(
        "an accepted key leaves the sessions of the other one",
        _SESSIONS,
        "for each in self._all() if each.peer.identity_key == identity_key]",
        "for each in self._all()]",
        f"{_IDENTITIES}::test_a_session_of_an_identity_that_was_given_up_opens_nothing",
    ),
    Mutation(
        "a list with another device leaves its session active",
        _SESSIONS,
        "is_replaced = self.active is not None and self.active.peer != listed",
        "is_replaced = False",
        f"{_IDENTITIES}::test_late_mail_of_a_replaced_device_is_read_and_its_session_is_never_used_again",
    ),
    Mutation(
        "late mail makes the session of a replaced device active",
        _SESSIONS,
        "return not self.is_ended and self.listed in (None, peer)",
        "return not self.is_ended",
        f"{_IDENTITIES}::test_late_mail_of_a_replaced_device_is_read_for_thirty_days_whatever_else_came",
    ),
    Mutation(
        "a retry makes the session of a replaced device active",
        _SESSIONS,
        "return self if session.ended_at is not None else self._activated(session)",
        "return self._activated(session)",
        "tests/unit/vyry/signal_protocol/test_vectors.py::test_a_published_case_comes_out_as_published",
    ),
    Mutation(
        "late mail of a replaced device opens after thirty days",
        _SESSIONS,
        "known = self._without_old_keys(arrival.expire_keys_before)",
        "known = self",
        f"{_IDENTITIES}::test_late_mail_of_a_replaced_device_is_read_for_thirty_days_whatever_else_came",
    ),
    Mutation(
        "both begin at once, and each keeps its own session",
        _SESSIONS,
        "active.is_unanswered and active.session_id < ",
        "active.is_unanswered and active.session_id != ",
        "tests/unit/vyry/signal_protocol/test_sessions.py::test_two_who_begin_at_once_settle_on_the_same_session",
    ),
    Mutation(
        "a key used twice is taken for a repetition",
        "vyry/signal_protocol/replay_record.py",
        "raise DuplicateMessage if hmac.compare_digest(known, short_digest(content)) else SenderRewound",
        "raise DuplicateMessage",
        "tests/unit/vyry/signal_protocol/test_cloned_state.py::test_a_sender_key_used_twice_is_told_from_a_repetition",
    ),
    Mutation(
        "a sender key goes on after it was used twice",
        "vyry/client/sync/retries.py",
        "(JumpTooFar.__name__, SenderRewound.__name__)",
        "(JumpTooFar.__name__,)",
        "tests/unit/vyry/client/test_retries.py::test_a_group_message_goes_behind_its_sender_key",
    ),
)

_KEY_MUTATIONS: Final = (
    Mutation(
        "an accepted key leaves sender keys that the other one was told",
        "vyry/client/crypto/peers.py",
        "    OwnSenderKeys(store).delete_for_account(user_id)\n",
        "",
        f"{_IDENTITIES}::test_after_a_key_is_accepted_nothing_goes_to_the_old_devices",
    ),
    Mutation(
        "an accepted key leaves what was sent to the other one",
        "vyry/client/sync/inbox.py",
        "            SendQueue(self._store).forget_recipient(user_id)\n",
        "",
        f"{_IDENTITIES}::test_what_was_sent_to_one_identity_is_not_sent_to_the_next",
    ),
    Mutation(
        "a device is known by its number alone when it asks again",
        "vyry/client/store/outgoing.py",
        "sha256(peer.identity_key + peer.dh_key)",
        "sha256(b'')",
        f"{_IDENTITIES}::test_a_device_of_the_same_number_with_other_keys_gets_nothing_again",
    ),
    Mutation(
        "a key that was given up is asked about again",
        "vyry/client/sync/inbox.py",
        "if is_former_key(self._store, envelope.sender.user_id, prefix.identity_key):",
        "if False:",
        f"{_IDENTITIES}::test_a_late_handshake_of_an_identity_that_was_given_up_asks_nobody_again",
    ),
    Mutation(
        "a key is accepted by any digits",
        "vyry/client/api/safety.py",
        "if not (await self._matches_digits(user_id, reported, digits) if digits is not None else is_shown):",
        "if digits is None and not is_shown:",
        f"{_SAFETY}::test_a_key_is_accepted_by_its_own_digits_alone",
    ),
    Mutation(
        "a key is accepted that was not shown",
        "vyry/client/api/safety.py",
        "if digits is not None else is_shown):",
        "if digits is not None else True):",
        f"{_SAFETY}::test_a_key_that_was_not_shown_is_not_accepted",
    ),
    Mutation(
        "a number is noted as compared whatever its digits",
        "vyry/client/api/safety.py",
        "if key is None or not await self._matches_digits(user_id, key, digits):",
        "if key is None:",
        f"{_SAFETY}::test_only_the_digits_of_the_held_key_are_noted_as_compared",
    ),
    Mutation(
        "a name follows the node to another account",
        "vyry/client/store/remembered_names.py",
        "                raise NameChanged(canonical_name(word), remembered, reported)\n",
        "                self.save(word, reported)\n",
        "tests/unit/vyry/client/test_remembered_names.py::test_the_first_answer_is_remembered_and_another_one_is_refused",
    ),
    Mutation(
        "a link is sealed twice",
        "vyry/signal_protocol/linking.py",
        "        self._single_use.use()\n",
        "",
        "tests/unit/vyry/signal_protocol/test_attachments_and_linking.py::test_an_attempt_seals_once_and_a_copy_of_it_too",
    ),
    Mutation(
        "settings are handed to a new device again",
        "vyry/signal_protocol/provisioning.py",
        '                "profileKey": encode_base64(self.profile_key),\n',
        '                "profileKey": encode_base64(self.profile_key),\n                "settings": {},\n',
        "tests/unit/vyry/signal_protocol/test_provisioning.py::test_its_fields_are_those_of_the_document",
    ),
)

_DEVICE_LIST_MUTATIONS: Final = (
    Mutation(
        "the own list is taken under the identity key that the node tells",
        "vyry/client/crypto/device_lists.py",
        "own_key = me.identity.public",
        "own_key = identity_key or me.identity.public",
        f"{_LISTS}::test_another_identity_for_the_own_account_is_told_even_without_devices",
    ),
    Mutation(
        "rows of a list are taken without their signature",
        "vyry/client/crypto/device_lists.py",
        "if is_duplicate or not _is_signed(",
        "if is_duplicate or False and not _is_signed(",
        f"{_LISTS}::test_a_device_that_the_identity_key_did_not_sign_is_none",
    ),
    Mutation(
        "two rows of a list have one key",
        "vyry/client/crypto/device_lists.py",
        "any(dh_key == known.dh_key for known in found.values())",
        "False",
        f"{_LISTS}::test_a_device_that_the_identity_key_did_not_sign_is_none",
    ),
    Mutation(
        "a list under another identity key is taken",
        "vyry/client/crypto/device_lists.py",
        "if stored is not None and identity_key != stored:",
        "if False:",
        f"{_LISTS}::test_a_list_under_another_identity_is_not_taken",
    ),
    Mutation(
        "a bundle of another device than the listed one is used",
        "vyry/client/crypto/sealing.py",
        "if recipients.device(bundle.address) != peer_device(bundle):",
        "if False:",
        f"{_SEALING}::test_a_bundle_of_another_device_than_the_listed_one_begins_no_session",
    ),
    Mutation(
        "a bundle of the own account under another identity key is an error of its device",
        "vyry/client/crypto/sealing.py",
        "if is_own and bundle.identity_key != recipients.me.identity.public:",
        "if False:",
        f"{_SEALING}::test_a_bundle_of_the_own_account_under_another_identity_gets_nothing",
    ),
    Mutation(
        "a list that its owner does not know is nothing to tell",
        "vyry/client/crypto/device_list_check.py",
        'self._add_event(user_id, _find_unseen_device(user_id, history, named), "node", envelope.at)',
        "return",
        f"{_LISTS}::test_a_list_that_its_owner_does_not_know_is_told_once_it_lasts",
    ),
    Mutation(
        "a sync counts from a device on no list",
        "vyry/client/crypto/device_list_check.py",
        "return history is not None and history.contains(address.device_id, peer.dh_key, now)",
        "return True",
        f"{_IDENTITIES}::test_a_sync_counts_only_from_a_device_of_the_own_verified_list",
    ),
)

_CONVERSATION_MUTATIONS: Final = (
    Mutation(
        "a third member is allowed in a direct conversation",
        "vyry/client/crypto/conversation_members.py",
        "if peer is not None or len(others) > 1 else []",
        "if False else []",
        f"{_CONVERSATIONS}::test_a_third_person_in_a_direct_conversation_ends_all_sealing",
    ),
    Mutation(
        "a conversation becomes one of another kind",
        "vyry/client/crypto/conversation_members.py",
        "if pin is not None and pin.is_group != conversation.is_group:",
        "if False:",
        f"{_CONVERSATIONS}::test_a_conversation_never_becomes_one_of_another_kind",
    ),
    Mutation(
        "newcomers of a group are not told",
        "vyry/client/crypto/conversation_members.py",
        "for user_id in strangers:",
        "for user_id in ():",
        f"{_SEALING}::test_newcomers_of_a_group_are_told_before_anything_is_posted",
    ),
    Mutation(
        "others are heard in a direct conversation",
        "vyry/client/sync/inbox.py",
        "envelope.sender.user_id not in (me.user_id, pin.peer):",
        "False:",
        f"{_CONVERSATIONS}::test_in_a_direct_conversation_nobody_else_is_heard",
    ),
    Mutation(
        "a sender key of an outsider is taken",
        "vyry/client/sync/content_processor.py",
        "if pin.is_group and not pin.allows_sender(sender):",
        "if False:",
        f"{_CONVERSATIONS}::test_a_sender_key_counts_only_from_a_member",
    ),
    Mutation(
        "a key of a title is taken from a former member",
        "vyry/client/sync/content_processor.py",
        "if pin is not None and envelope.sender.user_id in pin.former:",
        "if False:",
        f"{_CONVERSATIONS}::test_who_left_gives_no_key_of_a_title_any_more_and_late_mail_of_theirs_is_read",
    ),
)

_STORE_MUTATIONS: Final = (
    Mutation(
        "a refused content uses its key up",
        "vyry/client/sync/inbox.py",
        "with self._store.savepoint():",
        "with self._store.transaction():",
        f"{_CONVERSATIONS}::test_a_message_that_was_moved_is_read_where_it_belongs",
    ),
    Mutation(
        "a tombstone of no entries lets any head follow",
        "vyry/client/store/mailbox_chain.py",
        'if entry["throughSeq"] < seq or ',
        "if ",
        "tests/unit/vyry/client/test_chain.py::test_a_loss_of_no_numbers_is_none",
    ),
    Mutation(
        "a greeting after a rollback is ignored",
        "vyry/client/sync/inbox.py",
        "if last_message_id is None or posted.contains(last_message_id):",
        "if True:",
        "tests/unit/vyry/client/test_welcome.py::test_a_post_that_this_store_does_not_know_ends_all_that_it_would_seal_with",
    ),
    Mutation(
        "a store that went back in time keeps its own sender keys",
        "vyry/client/crypto/peers.py",
        "kind IN ('sessions', 'own sender key')",
        "kind IN ('sessions')",
        "tests/unit/vyry/client/test_welcome.py::test_a_post_that_this_store_does_not_know_ends_all_that_it_would_seal_with",
    ),
    Mutation(
        "something is posted before the node has greeted",
        "vyry/client/api/client.py",
        "        await self._connection.is_welcomed.wait()\n",
        "",
        "tests/unit/vyry/client/test_welcome.py::test_nothing_is_asked_for_and_posted_before_the_node_has_greeted",
    ),
    Mutation(
        "a copy on another machine goes on with its sessions",
        "vyry/client/api/client.py",
        "if is_other_machine(self._store):",
        "if False:",
        f"{_RESTORED}::test_a_copy_on_another_machine_begins_with_sessions_of_its_own",
    ),
    Mutation(
        "rows of the store are not compared with their sum",
        "vyry/client/store/database.py",
        "if len(stored) != 1 or not hmac.compare_digest(stored[0], self._sum.mac()):",
        "if len(kept) != 1:",
        "tests/unit/vyry/client/test_store.py::test_single_rows_put_back_added_or_removed_are_noticed_at_opening",
    ),
    Mutation(
        "a wrapped key is opened whatever stands beside it",
        "vyry/client/store/store_key.py",
        "return _LABEL + orjson.dumps(",
        "return _LABEL or orjson.dumps(",
        "tests/unit/vyry/client/test_profile_opening.py::test_what_stands_beside_a_wrapped_key_is_a_part_of_it",
    ),
    Mutation(
        "a content has a name twice",
        "vyry/signal_protocol/contents.py",
        "    if len(found) != len(pairs):\n",
        "    if False:\n",
        "tests/unit/vyry/signal_protocol/test_contents.py::test_an_object_with_a_name_twice_is_refused",
    ),
)
_CLOCK: Final = "tests/unit/vyry/test_clock.py"
_CLOCK_MUTATIONS: Final = (
    Mutation(
        "a clock that jumped is confirmed",
        "vyry/clock.py",
        "return now if abs(now - expected) <= JUMP_THRESHOLD else min(now, expected)",
        "return now",
        f"{_CLOCK}::test_a_clock_that_jumps_while_the_node_runs_confirms_nothing_at_once",
    ),
    Mutation(
        "a clock is believed against other nodes",
        "vyry/clock_monitor.py",
        "        elif not is_moved:\n",
        "        else:\n",
        f"{_CLOCK}::test_a_clock_is_never_believed_against_nodes_that_have_another_time",
    ),
    Mutation(
        "a lock from the future stands",
        "vyry/storage/account_upkeep.py",
        'for column in ("locked_until", "lock_locked_until")',
        'for column in ("lock_locked_until",)',
        "tests/integration/test_future_timestamps.py::test_a_pin_locked_while_the_clock_was_ahead_is_locked_for_a_day_more",
    ),
    Mutation(
        "a client believes a clock that is ahead once",
        "vyry/client/store/trusted_time.py",
        "return now if record is None or now - record.seen_at <= _MAX_JUMP_MS else record.seen_at",
        "return now",
        "tests/unit/vyry/client/test_trusted_time.py::test_a_clock_that_is_ahead_once_costs_nothing",
    ),
)

MUTATIONS: Final = (
    *NUMBERED_POST_MUTATIONS,
    *_SESSION_MUTATIONS,
    *_KEY_MUTATIONS,
    *_DEVICE_LIST_MUTATIONS,
    *_CONVERSATION_MUTATIONS,
    *_STORE_MUTATIONS,
    *_CLOCK_MUTATIONS,
    *FRAME_MUTATIONS,
)
