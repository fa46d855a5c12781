-- The verb `claim`. The first row tells of the bot, those that follow are claims.
--
-- Nothing may depend on what waits, nor on rows that are dead but cannot be removed yet because somebody's old snapshot might
-- still see them. So the index of ready lanes is entered where the last claim found the first living lane of each priority
-- (`fronts_at`, `fronts_id`), and not at its beginning. Whoever makes a lane ready in the past (nobody does so without need)
-- increases `bot.looks`; the caller looks from the beginning then, and every now and then anyway.
--
-- `request` stands in the lanes taken: were the answer lost, the next claims name it in `doubtful` and get what it took.
-- Nothing is taken after `good_until` (server's time), when nobody waits for the answer any more. `arrivals`: whether to look for
-- what was submitted in other people's transactions.
CREATE FUNCTION claim(at float8, its_bot bigint, its_holder text, its_token bigint, most integer, lows integer,
  request_id bigint, doubtful bigint[], good_until float8, looks_seen bigint, fronts_at float8[], fronts_id bigint[],
  later_from float8, arrivals boolean)
RETURNS TABLE (bot_looks bigint, next_time float8, next_ats float8[], next_ids bigint[], next_due float8, lane bigint,
  prio smallint, seq bigint, chat text, suppressed text, id text, method text, params text, accepted_at float8, files text,
  expires_at float8, options text, tries integer, attempts integer, doubts integer, crashes integer, asked_at float8,
  requeued_at float8, known_files text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  now float8;
  b bot;
  taken bigint[] := '{}';
  low_ones bigint[] := '{}';
  picked bigint[];
  due_since float8;
  recovered integer;
BEGIN
  PERFORM durable();
  PERFORM pg_advisory_xact_lock_shared(bot_lock(its_bot));
  now := time_of(at);
  SELECT * INTO b FROM bot WHERE bot.id = its_bot;
  IF NOT FOUND OR b.holder IS DISTINCT FROM its_holder OR b.token <> its_token OR b.lease_until < now OR now > good_until THEN
    RETURN;
  END IF;
  IF b.looks <> looks_seen THEN
    fronts_at := NULL;
    later_from := '-infinity';
  END IF;
  IF cardinality(doubtful) > 0 THEN
    UPDATE lane l SET request = request_id
    WHERE l.bot = its_bot AND l.token = its_token AND l.request = ANY (doubtful);
    GET DIAGNOSTICS recovered = ROW_COUNT;
    most := greatest(most - recovered, 0);
  END IF;
  IF arrivals THEN
    PERFORM admit(at, ARRAY[its_bot]);
  END IF;
  IF b.paused_until <= now THEN
    due_since := promote(its_bot, now, later_from);
    IF due_since IS NOT NULL THEN
      fronts_at := ARRAY(SELECT least(f, due_since) FROM unnest(fronts_at) WITH ORDINALITY u (f, no) ORDER BY no);
      fronts_id := NULL;
    END IF;
    IF lows > 0 THEN
      low_ones := ready_lanes(its_bot, 3, now, least(lows, most), fronts_at, fronts_id, '{}');
    END IF;
    FOR p IN 0..3 LOOP
      EXIT WHEN cardinality(taken) + cardinality(low_ones) >= most;
      picked := ready_lanes(its_bot, p, now, most - cardinality(taken) - cardinality(low_ones), fronts_at, fronts_id, low_ones);
      taken := taken || picked;
    END LOOP;
    taken := taken || low_ones;
    IF cardinality(taken) > 0 THEN
      UPDATE lane l SET token = its_token, request = request_id WHERE l.id = ANY (taken);
    END IF;
    SELECT f.ats, f.ids INTO next_ats, next_ids FROM fronts(its_bot, fronts_at, fronts_id) f;
    SELECT c.at, c.due INTO next_time, next_due FROM next_claimable(its_bot, now, next_ats, later_from) c;
  ELSIF b.paused_until < 'infinity' THEN
    next_time := b.paused_until;
  END IF;
  bot_looks := b.looks;
  RETURN NEXT;
  IF cardinality(taken) > 0 OR cardinality(doubtful) > 0 THEN
    RETURN QUERY SELECT b.looks, NULL::float8, NULL::float8[], NULL::bigint[], NULL::float8, c.* FROM claims(
      CASE WHEN cardinality(doubtful) > 0
        THEN ARRAY(SELECT l.id FROM lane l WHERE l.bot = its_bot AND l.token = its_token AND l.request = request_id)
        ELSE taken END) c;
  END IF;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- Messages whose time has come take their places; a lane's new head came to its turn when it was due. Lanes that somebody
-- else works on are left for the next time. Answers since when the first of them was due, null if there was none.
CREATE FUNCTION promote(its_bot bigint, now float8, later_from float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  lanes bigint[];
  first float8;
BEGIN
  SELECT array_agg(DISTINCT due.lane) INTO lanes FROM (
    SELECT lane FROM message WHERE bot = its_bot AND later AND due_at >= later_from AND due_at <= now
    ORDER BY due_at LIMIT 1000) due;
  IF lanes IS NULL THEN
    RETURN NULL;
  END IF;
  lanes := ARRAY(SELECT id FROM lane WHERE id = ANY (lanes) ORDER BY id FOR UPDATE SKIP LOCKED);
  WITH promoted AS (
    UPDATE message SET later = false WHERE lane = ANY (lanes) AND later AND bot = its_bot AND due_at <= now RETURNING due_at)
  SELECT min(due_at) INTO first FROM promoted;
  PERFORM refresh(lanes, 0);
  RETURN first;
END $$;

-- Up to `most` ready lanes of one priority, locked, those ready longest first.
CREATE FUNCTION ready_lanes(its_bot bigint, its_prio integer, now float8, most integer, fronts_at float8[], fronts_id bigint[],
  but bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
  RETURN ARRAY(
    SELECT id FROM lane WHERE bot = its_bot AND prio = its_prio AND token IS NULL
      AND (next_at, id) >= (coalesce(fronts_at[its_prio + 1], '-infinity'), coalesce(fronts_id[its_prio + 1], 0))
      AND next_at <= now AND id <> ALL (but)
    ORDER BY next_at, id LIMIT most FOR UPDATE SKIP LOCKED);
END $$;

-- The first living lane of each priority, ready or not; infinite where there is none.
CREATE FUNCTION fronts(its_bot bigint, fronts_at float8[], fronts_id bigint[], OUT ats float8[], OUT ids bigint[])
LANGUAGE plpgsql AS $$
DECLARE
  first record;
BEGIN
  FOR p IN 1..4 LOOP
    SELECT next_at, id INTO first FROM lane WHERE bot = its_bot AND prio = p - 1 AND token IS NULL
      AND (next_at, id) >= (coalesce(fronts_at[p], '-infinity'), coalesce(fronts_id[p], 0)) ORDER BY next_at, id LIMIT 1;
    ats[p] := coalesce(first.next_at, 'infinity');
    ids[p] := coalesce(first.id, 0);
  END LOOP;
END $$;

-- When something can be claimable at the earliest (null: nothing will be by itself), and when the first of what waits for
-- later is due. 100 of those are looked at; are they all behind something else, then again when the first is due.
CREATE FUNCTION next_claimable(its_bot bigint, now float8, ats float8[], later_from float8, OUT at float8, OUT due float8)
LANGUAGE plpgsql AS $$
DECLARE
  best float8 := (SELECT min(a) FROM unnest(ats) a);
  looked_at integer := 0;
  r record;
BEGIN
  SELECT due_at INTO due FROM message WHERE bot = its_bot AND later AND due_at >= later_from ORDER BY due_at LIMIT 1;
  IF due < best THEN
    FOR r IN SELECT m.due_at, l.chat_at, l.token IS NOT NULL AS in_flight FROM message m JOIN lane l ON l.id = m.lane
        WHERE m.bot = its_bot AND m.later AND m.due_at >= due ORDER BY m.due_at LIMIT 100 LOOP
      EXIT WHEN r.due_at >= best;
      looked_at := looked_at + 1;
      IF NOT r.in_flight THEN
        best := least(best, greatest(r.due_at, r.chat_at));
      END IF;
    END LOOP;
    IF looked_at = 100 THEN
      best := least(best, greatest(due, now + 1));
    END IF;
  END IF;
  at := CASE WHEN best < 'infinity' THEN greatest(best, now) END;
END $$;

-- Lanes in flight as claims, in the order of their turns.
CREATE FUNCTION claims(lanes bigint[])
RETURNS TABLE (lane bigint, prio smallint, seq bigint, chat text, suppressed text, id text, method text, params text,
  accepted_at float8, files text, expires_at float8, options text, tries integer, attempts integer, doubts integer,
  crashes integer, asked_at float8, requeued_at float8, known_files text) LANGUAGE sql STABLE AS $$
  SELECT l.id, l.prio, m.seq, l.chat, l.suppressed, m.id, m.method, m.params, m.accepted_at, m.files, m.expires_at, m.options,
    m.tries, m.attempts, m.doubts, m.crashes, m.asked_at, m.requeued_at,
    CASE WHEN m.files IS NOT NULL THEN (
      SELECT json_agg(json_build_array(f.sha256, f.kind, f.file_id))::text FROM file_id f
      WHERE f.bot = l.bot AND f.sha256 IN (SELECT e ->> 1 FROM json_array_elements(m.files::json) e)) END
  FROM lane l JOIN message m ON m.seq = l.head
  WHERE l.id = ANY (lanes) ORDER BY l.prio, l.next_at, l.id
$$;

-- The verb `adopt`: lanes in flight under older tokens get this one. `request_id` and `good_until` as for `claim`.
CREATE FUNCTION adopt(at float8, its_bot bigint, its_holder text, its_token bigint, most integer, suspects boolean,
  request_id bigint, doubtful bigint[], good_until float8)
RETURNS TABLE (lane bigint, prio smallint, seq bigint, chat text, suppressed text, id text, method text, params text,
  accepted_at float8, files text, expires_at float8, options text, tries integer, attempts integer, doubts integer,
  crashes integer, asked_at float8, requeued_at float8, known_files text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  taken bigint[];
BEGIN
  PERFORM durable();
  PERFORM pg_advisory_xact_lock_shared(bot_lock(its_bot));
  IF time_of(at) > good_until OR NOT EXISTS (
      SELECT FROM bot WHERE bot.id = its_bot AND holder = its_holder AND token = its_token) THEN
    RETURN;
  END IF;
  IF cardinality(doubtful) > 0 THEN
    taken := ARRAY(SELECT l.id FROM lane l JOIN message m ON m.seq = l.head WHERE l.bot = its_bot AND l.token = its_token
      AND l.request = ANY (doubtful) AND (m.crashes > 0) = suspects ORDER BY l.id);
  END IF;
  IF cardinality(taken) > 0 THEN
    UPDATE lane l SET request = request_id WHERE l.id = ANY (taken);
  ELSE
    taken := ARRAY(SELECT l.id FROM lane l JOIN message m ON m.seq = l.head WHERE l.bot = its_bot AND l.token < its_token
      AND (m.crashes > 0) = suspects ORDER BY l.id LIMIT most);
    PERFORM FROM lane l WHERE l.id = ANY (taken) ORDER BY l.id FOR UPDATE;
    UPDATE lane l SET token = its_token, request = request_id WHERE l.id = ANY (taken) AND l.token < its_token;
  END IF;
  RETURN QUERY SELECT c.* FROM claims(
    ARRAY(SELECT l.id FROM lane l WHERE l.id = ANY (taken) AND l.token = its_token AND l.request = request_id)) c;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;
