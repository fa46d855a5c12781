-- The verb `submit` inside a transaction of somebody else's, who needs no more rights than USAGE of the schema.

-- Which database this is: no other one, and no copy of it, answers the same.
CREATE FUNCTION whereabouts() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  database constant text := (SELECT oid FROM pg_database WHERE datname = current_database());
BEGIN
  RETURN (SELECT system_identifier FROM pg_control_system()) || '/' || database;
EXCEPTION WHEN insufficient_privilege THEN
  RETURN database;
END $$ SECURITY DEFINER SET search_path FROM CURRENT;

-- As `submit`; but what it refuses it answers, so that the transaction can go on: `refused` is 'elsewhere' in another database
-- than `here`, or the [key, id] of a conflict of keys. Listeners of `channel` hear of it when the transaction has committed.
CREATE FUNCTION submit_within(here text, channel text, at float8, ids text[], places integer[], methods text[], params text[],
  prios smallint[], accepted float8[], extras text[], bots bigint[], chats text[], OUT seqs bigint[], OUT rest text,
  OUT refused text)
LANGUAGE plpgsql AS $$
BEGIN
  IF here <> whereabouts() THEN
    refused := 'elsewhere';
    RETURN;
  END IF;
  SELECT s.seqs, s.rest INTO seqs, rest
  FROM submit_later(at, ids, places, methods, params, prios, accepted, extras, bots, chats) s;
  PERFORM pg_notify(channel, 'joined');
EXCEPTION WHEN SQLSTATE 'KU409' THEN
  GET STACKED DIAGNOSTICS refused = PG_EXCEPTION_DETAIL;
END $$ SECURITY DEFINER SET search_path FROM CURRENT;
