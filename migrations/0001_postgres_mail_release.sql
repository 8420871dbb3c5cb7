CREATE FUNCTION mail_release(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE gone int;
BEGIN
  -- Nearly every body has one reader; a row that several share goes with the last of them.
  DELETE FROM content c WHERE c.id = ANY(ids) AND c.copies = 1;
  GET DIAGNOSTICS gone = ROW_COUNT;
  IF gone < cardinality(ids) THEN
    PERFORM 1 FROM content c WHERE c.id = ANY(ids) ORDER BY c.id FOR UPDATE;
    UPDATE content c SET copies = c.copies - k.n FROM (SELECT i.id, count(*) AS n FROM unnest(ids) i(id) GROUP BY i.id) k WHERE c.id = k.id;
    DELETE FROM content c WHERE c.id = ANY(ids) AND c.copies <= 0;
  END IF;
END $$;
