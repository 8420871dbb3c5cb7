DROP FUNCTION mail_post(
  uuid[], integer[], uuid[], integer[], bigint[], integer[], integer, bigint, integer, bigint, bigint[], uuid[], bytea[], timestamptz[], timestamptz[],
  smallint[], integer[], integer[], integer[], integer[], integer[], bytea[], integer[], bigint[], integer[], bytea[], integer[], boolean[], uuid[],
  uuid[], bigint[], integer[], integer, bigint, integer, bigint, integer, bigint, timestamptz
);
DROP FUNCTION mail_deposit;
DROP FUNCTION mail_number;
DROP TYPE mailbox_count;
