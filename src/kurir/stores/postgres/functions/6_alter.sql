-- The verb `alter` on messages found before: they are looked at again under the locks of their lanes, and only those whose state
-- still allows the change are changed. Each answers the order numbers that it changed, in their order.

-- Waiting messages (not in flight) end.
CREATE FUNCTION end_some(at float8, given bigint[], its_state smallint, why text, request_id bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  chosen bigint[];
  ids text;
  now float8;
  shorter record;
BEGIN
  PERFORM durable();
  SELECT answer INTO ids FROM request WHERE id = request_id;
  IF FOUND THEN
    RETURN ids;
  END IF;
  PERFORM FROM lane WHERE id IN (SELECT lane FROM message WHERE seq = ANY (given)) ORDER BY id FOR UPDATE;
  now := time_of(at);
  SELECT array_agg(m.seq ORDER BY m.seq), json_agg(m.id ORDER BY m.seq)::text INTO chosen, ids
  FROM message m JOIN lane l ON l.id = m.lane
  WHERE m.seq = ANY (given) AND NOT (l.token IS NOT NULL AND l.head = m.seq);
  FOR shorter IN SELECT lane, count(*)::integer AS n FROM message WHERE seq = ANY (chosen) GROUP BY lane LOOP
    PERFORM shorten(shorter.lane, shorter.n);
  END LOOP;
  PERFORM end_messages(chosen, its_state, why, now, NULL);
  PERFORM refresh(ARRAY(SELECT DISTINCT lane FROM ended WHERE seq = ANY (chosen)), now);
  INSERT INTO request (id, answer) VALUES (request_id, coalesce(ids, '[]'));
  PERFORM nextval('change');
  RETURN coalesce(ids, '[]');
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan;

-- Dead, cancelled or expired messages wait again, at the ends of their lanes.
CREATE FUNCTION requeue_some(at float8, given bigint[], request_id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  chosen bigint[];
  positions bigint[];
  lanes bigint[];
  ids text;
  now float8;
BEGIN
  PERFORM durable();
  SELECT answer INTO ids FROM request WHERE id = request_id;
  IF FOUND THEN
    RETURN ids;
  END IF;
  PERFORM FROM lane WHERE id IN (SELECT lane FROM ended WHERE seq = ANY (given)) ORDER BY id FOR UPDATE;
  now := time_of(at);
  SELECT array_agg(seq ORDER BY seq), json_agg(id ORDER BY seq)::text, array_agg(DISTINCT lane) INTO chosen, ids, lanes
  FROM ended WHERE seq = ANY (given) AND state IN (3, 4, 5);
  IF chosen IS NOT NULL THEN
    SELECT array_agg(nextval('message_seq')) INTO positions FROM unnest(chosen);
    WITH gone AS (DELETE FROM ended WHERE seq = ANY (chosen) RETURNING *),
    back AS (
      INSERT INTO message (seq, lane, bot, pos, due_at, accepted_at, asked_at, requeued_at, tried_at, attempts, prio, later, id,
        method, params, key, target, files, metadata, options, tried)
      SELECT seq, lane, bot, positions[array_position(chosen, seq)], 0, accepted_at, asked_at, now, tried_at, attempts, prio,
        false, id, method, params, key, target, files, metadata, options, tried FROM gone)
    INSERT INTO delta (bot, dead, cancelled, expired) SELECT bot, -count(*) FILTER (WHERE state = 3),
      -count(*) FILTER (WHERE state = 4), -count(*) FILTER (WHERE state = 5) FROM gone GROUP BY bot;
    WITH joined AS (SELECT lane, count(*)::integer AS n FROM message WHERE seq = ANY (chosen) GROUP BY lane),
    grown AS (
      UPDATE lane l SET waiting = waiting + j.n, suppressed = NULL, suppressed_at = NULL FROM joined j WHERE l.id = j.lane
      RETURNING l.bot, j.n, l.waiting)
    INSERT INTO delta (bot, waiting, lanes) SELECT bot, sum(n), count(*) FILTER (WHERE waiting = n) FROM grown GROUP BY bot;
    PERFORM refresh(lanes, now);
  END IF;
  INSERT INTO request (id, answer) VALUES (request_id, coalesce(ids, '[]'));
  PERFORM nextval('change');
  RETURN coalesce(ids, '[]');
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan;

-- Records of final messages go, with what belongs to them. Answers the messages' ids and the lanes they were of, and the files
-- that nobody refers to any more.
CREATE FUNCTION remove_ended(chosen bigint[], OUT ids json, OUT lanes bigint[], OUT files json) LANGUAGE plpgsql AS $$
DECLARE
  maybe text[];
BEGIN
  WITH gone AS (DELETE FROM ended WHERE seq = ANY (chosen) RETURNING seq, bot, lane, state, id, key),
  keys AS (DELETE FROM key k USING gone g WHERE g.key IS NOT NULL AND k.bot = g.bot AND k.key = g.key AND k.id = g.id),
  counted AS (
    INSERT INTO delta (bot, delivered, dead, cancelled, expired) SELECT bot, -count(*) FILTER (WHERE state = 2),
      -count(*) FILTER (WHERE state = 3), -count(*) FILTER (WHERE state = 4), -count(*) FILTER (WHERE state = 5)
    FROM gone GROUP BY bot)
  SELECT json_agg(id ORDER BY seq), array_agg(DISTINCT lane), array_agg(seq) INTO ids, lanes, chosen FROM gone;
  DELETE FROM metadata WHERE seq = ANY (chosen);
  WITH gone AS (DELETE FROM message_file WHERE seq = ANY (chosen) RETURNING sha256)
  SELECT array_agg(DISTINCT sha256) INTO maybe FROM gone;
  SELECT json_agg(u.sha256 ORDER BY u.sha256) INTO files FROM unnest(maybe) u (sha256)
  WHERE NOT EXISTS (SELECT FROM message_file f WHERE f.sha256 = u.sha256);
END $$;

-- Those of the lanes of which nothing need be remembered go; answers how many.
CREATE FUNCTION tidy_lanes(lanes bigint[], idle float8) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  n integer;
BEGIN
  PERFORM FROM lane WHERE id = ANY (lanes) ORDER BY id FOR UPDATE;
  WITH gone AS (
    DELETE FROM lane l WHERE l.id = ANY (lanes) AND l.chat_at < idle AND l.suppressed IS NULL AND l.waiting = 0
      AND NOT EXISTS (SELECT FROM message WHERE lane = l.id) AND NOT EXISTS (SELECT FROM ended WHERE lane = l.id)
    RETURNING bot, chat),
  names AS (DELETE FROM name n USING gone g WHERE n.bot = g.bot AND n.chat = g.chat)
  SELECT count(*) INTO n FROM gone;
  RETURN n;
END $$;

CREATE FUNCTION purge_some(at float8, given bigint[], idle float8, request_id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  told text;
  r record;
BEGIN
  PERFORM durable();
  SELECT answer INTO told FROM request WHERE id = request_id;
  IF NOT FOUND THEN
    SELECT * INTO r FROM remove_ended(given);
    PERFORM tidy_lanes(r.lanes, time_of(at) - idle);
    told := coalesce(r.ids::text, '[]');
    INSERT INTO request (id, answer) VALUES (request_id, told);
  END IF;
  RETURN told;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan;

-- The verb `prune`. Answers [messages, lanes, files].
CREATE FUNCTION prune(at float8, before float8, most integer, lift_before float8, key_life float8, idle float8,
  request_id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  told text;
  chosen bigint[];
  r record;
  now float8 := time_of(at);
BEGIN
  PERFORM durable();
  SELECT answer INTO told FROM request WHERE id = request_id;
  IF FOUND THEN
    RETURN told;
  END IF;
  UPDATE lane SET suppressed = NULL, suppressed_at = NULL WHERE suppressed IS NOT NULL AND suppressed_at < lift_before;
  chosen := ARRAY(
    SELECT e.seq FROM bot b CROSS JOIN LATERAL (
      SELECT seq, ended_at FROM ended WHERE bot = b.id AND ended_at < before AND (key IS NULL OR ended_at < now - key_life)
      ORDER BY ended_at, seq LIMIT most) e ORDER BY e.ended_at, e.seq LIMIT most);
  SELECT * INTO r FROM remove_ended(chosen);
  IF r.files IS NOT NULL THEN
    DELETE FROM file_id WHERE (bot, sha256) IN (SELECT b.id, f FROM bot b, json_array_elements_text(r.files) f);
  END IF;
  told := json_build_array(coalesce(json_array_length(r.ids), 0), tidy_lanes(r.lanes, now - idle),
    coalesce(r.files, '[]'))::text;
  IF r.ids IS NOT NULL THEN
    INSERT INTO request (id, answer) VALUES (request_id, told);
  END IF;
  RETURN told;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan;

-- The verb `steer`: of a bot where `its_chat` is null.
CREATE FUNCTION steer(its_bot bigint, its_chat text, until float8, reason text, extend boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  its_lane bigint;
BEGIN
  PERFORM durable();
  IF its_chat IS NULL THEN
    INSERT INTO bot (id) VALUES (its_bot) ON CONFLICT DO NOTHING;
    UPDATE bot SET paused_until = until, paused_why = reason WHERE id = its_bot AND NOT (extend AND until <= paused_until);
  ELSE
    its_lane := (enter_lanes(ARRAY[its_bot], ARRAY[its_chat]))[1];
    UPDATE lane SET chat_at = until, chat_why = CASE WHEN until > 0 THEN reason END,
      next_at = CASE WHEN head IS NOT NULL THEN greatest(head_at, until) END WHERE id = its_lane;
    UPDATE bot SET looks = looks + 1 WHERE id = its_bot;
  END IF;
  PERFORM nextval('change');
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- The verb `suppress`; `why` null lifts it.
CREATE FUNCTION suppress(at float8, its_bot bigint, its_chat text, why text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  its_lane bigint;
BEGIN
  PERFORM durable();
  its_lane := (enter_lanes(ARRAY[its_bot], ARRAY[its_chat]))[1];
  IF why IS NULL THEN
    UPDATE lane SET suppressed = NULL, suppressed_at = NULL WHERE id = its_lane AND suppressed IS NOT NULL;
  ELSE
    PERFORM suppress_lane(its_lane, why, time_of(at));
  END IF;
  PERFORM nextval('change');
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- What was counted since the last time is added to the sums; old answers go with `tidy`. Does nothing while somebody else does it.
CREATE FUNCTION fold(most integer, tidy boolean) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  n integer;
BEGIN
  IF NOT pg_try_advisory_xact_lock('delta'::regclass::oid::bigint) THEN
    RETURN 0;
  END IF;
  WITH gone AS (DELETE FROM delta WHERE ctid = ANY (ARRAY(SELECT ctid FROM delta LIMIT most)) RETURNING *),
  sums AS (
    INSERT INTO tally AS t (bot, waiting, lanes, delivered, dead, cancelled, expired, fenced)
    SELECT bot, sum(waiting), sum(lanes), sum(delivered), sum(dead), sum(cancelled), sum(expired), sum(fenced)
    FROM gone GROUP BY bot
    ON CONFLICT (bot) DO UPDATE SET waiting = t.waiting + excluded.waiting, lanes = t.lanes + excluded.lanes,
      delivered = t.delivered + excluded.delivered, dead = t.dead + excluded.dead,
      cancelled = t.cancelled + excluded.cancelled, expired = t.expired + excluded.expired,
      fenced = t.fenced + excluded.fenced),
  days AS (
    INSERT INTO day AS d (bot, day, delivered, dead, cancelled, expired)
    SELECT bot, day, sum(delivered), sum(dead), sum(cancelled), sum(expired) FROM gone
    WHERE day IS NOT NULL AND delivered + dead + cancelled + expired > 0 GROUP BY bot, day
    ON CONFLICT (day, bot) DO UPDATE SET delivered = d.delivered + excluded.delivered, dead = d.dead + excluded.dead,
      cancelled = d.cancelled + excluded.cancelled, expired = d.expired + excluded.expired)
  SELECT count(*) INTO n FROM gone;
  IF tidy AND pg_postmaster_start_time() < clock_timestamp() - interval '10 minutes' THEN
    DELETE FROM request WHERE at < extract(epoch FROM clock_timestamp()) - 3600;
  END IF;
  RETURN n;
END $$ SET search_path FROM CURRENT SET jit = off
SET plan_cache_mode = force_generic_plan;
