-- The verb `lease`: take or renew the right to bots, or give it up (`lasts` <= 0). Time is the caller's if given, else the
-- server's, of which `lasts` seconds are counted. Answers a JSON array of [bot, token, until, paused_until, paused_why, orphans,
-- lone, recent] of the leases held; recent is an array of [chat, "attempts", since]. `request` tells a repetition.
CREATE FUNCTION lease(at float8, its_holder text, bots bigint[], lasts float8, request_id bigint, recent float8,
  OUT told text, OUT changed boolean, OUT clock float8) LANGUAGE plpgsql AS $$
DECLARE
  now float8 := time_of(at);
  answers json[] := '{}';
  answer json;
  b bigint;
  took boolean;
BEGIN
  PERFORM durable();
  changed := false;
  clock := time_of(NULL);
  SELECT r.answer INTO told FROM request r WHERE r.id = request_id;
  IF FOUND THEN
    RETURN;
  END IF;
  IF cardinality(bots) = 0 THEN
    UPDATE pulse SET at = now;
  END IF;
  INSERT INTO bot (id) SELECT i FROM unnest(bots) i WHERE NOT EXISTS (SELECT FROM bot WHERE id = i) ORDER BY i
  ON CONFLICT DO NOTHING;
  FOR b IN SELECT DISTINCT i FROM unnest(bots) i ORDER BY i LOOP
    IF lasts <= 0 THEN
      PERFORM pg_advisory_xact_lock(bot_lock(b));
      UPDATE bot SET holder = NULL, lease_until = 0 WHERE id = b AND holder = its_holder;
      changed := changed OR FOUND;
      CONTINUE;
    END IF;
    UPDATE bot SET lease_until = now + lasts WHERE id = b AND holder = its_holder;
    took := NOT FOUND;
    IF took THEN
      CONTINUE WHEN NOT take_bot(now, its_holder, b, lasts);
      changed := true;
    END IF;
    answer := lease_told(now, b, took, recent);
    answers := answers || answer;
  END LOOP;
  told := array_to_json(answers)::text;
  clock := time_of(NULL);
  IF changed THEN
    INSERT INTO request (id, answer) VALUES (request_id, told);
    PERFORM nextval('change');
  END IF;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- A bot that nobody holds, or whose lease ran out, gets a new holder. What its former one claims at this moment is done first.
CREATE FUNCTION take_bot(now float8, its_holder text, its_bot bigint, lasts float8) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM bot WHERE id = its_bot AND holder IS NOT NULL AND lease_until > now) THEN
    RETURN false;
  END IF;
  PERFORM pg_advisory_xact_lock(bot_lock(its_bot));
  UPDATE bot SET holder = its_holder, token = token + 1, lease_until = now + lasts, looks = looks + 1,
    orphans = EXISTS (SELECT FROM lane WHERE bot = its_bot AND token IS NOT NULL)
  WHERE id = its_bot AND (holder IS NULL OR lease_until <= now);
  RETURN FOUND;
END $$;

CREATE FUNCTION lease_told(now float8, its_bot bigint, took boolean, recent float8) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  b bot;
  lone text;
BEGIN
  SELECT * INTO b FROM bot WHERE id = its_bot;
  IF b.orphans AND NOT EXISTS (SELECT FROM lane WHERE bot = its_bot AND token < b.token) THEN
    UPDATE bot SET orphans = false WHERE id = its_bot;
    b.orphans := false;
  END IF;
  IF b.orphans AND took THEN
    SELECT CASE WHEN count(*) = 1 THEN max(m.id) END INTO lone FROM lane l JOIN message m ON m.seq = l.head
    WHERE l.bot = its_bot AND l.token = (SELECT max(token) FROM lane WHERE bot = its_bot AND token < b.token);
  END IF;
  RETURN json_build_array(b.id, b.token, b.lease_until, b.paused_until, b.paused_why, b.orphans, lone,
    CASE WHEN took THEN recent_of(its_bot, now - recent) END, now - recent);
END $$;

-- [chat, attempts] of the messages that were tried since then; twice as long ago they may have ended.
CREATE FUNCTION recent_of(its_bot bigint, since float8) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_agg(json_build_array(l.chat, t.tried)) FROM (
    SELECT lane, tried FROM message WHERE bot = its_bot AND tried_at > since
    UNION ALL SELECT lane, tried FROM ended WHERE bot = its_bot AND ended_at > since - 60 AND tried_at > since) t
    JOIN lane l ON l.id = t.lane
$$;

-- Who sends: `holder` is alive for `lasts` seconds more (<= 0: it leaves). Answers the workers and the holders of leases.
CREATE FUNCTION attend(at float8, its_holder text, its_bots bigint[], lasts float8, OUT workers text, OUT holders text,
  OUT changed boolean, OUT clock float8) LANGUAGE plpgsql AS $$
DECLARE
  now float8 := time_of(at);
BEGIN
  changed := NOT EXISTS (SELECT FROM worker WHERE holder = its_holder AND until > now AND bots = its_bots);
  IF lasts > 0 THEN
    INSERT INTO worker (holder, until, bots) VALUES (its_holder, now + lasts, its_bots)
    ON CONFLICT (holder) DO UPDATE SET until = excluded.until, bots = excluded.bots;
  ELSE
    DELETE FROM worker WHERE holder = its_holder;
    changed := FOUND;
  END IF;
  DELETE FROM worker WHERE holder IN (
    SELECT holder FROM worker WHERE until < now - 3600 ORDER BY holder FOR UPDATE SKIP LOCKED);
  SELECT json_agg(json_build_array(holder, until, to_json(bots)) ORDER BY holder) INTO workers FROM worker WHERE until > now;
  SELECT json_agg(json_build_array(id, holder)) INTO holders FROM bot WHERE holder IS NOT NULL AND lease_until > now;
  IF changed THEN
    PERFORM nextval('change');
  END IF;
  clock := time_of(NULL);
END $$ SET search_path FROM CURRENT SET jit = off
SET plan_cache_mode = force_generic_plan;
