DROP TABLE
  account, account_event, account_pin, attachment, block, call, clock, content, conversation, device, ending, envelope, fate, friend, friend_request,
  group_invitation, held_notice, invite, key_set, link, mailbox, mailbox_share, member, message, notice, one_time_prekey, operator_act, otp_breaker,
  otp_challenge, otp_sent, pepper, proven_network, push_target, push_wake, refresh_token, registration, resting_name, witness;

DROP SEQUENCE envelope_number, message_ordinal_seq;

DROP FUNCTION
  mail_acknowledge, mail_deposit, mail_lose, mail_post, mail_release, note_ended_account, note_ended_device, plan_wake, refuse_change, try_held_notices;
