-- The verb `submit`. Draft n is for the chat `chats[places[n]]` of the bot `bots[places[n]]`; `extras[n]` is a JSON object of
-- what is not plain about it, or null. Answers the order numbers, and in `rest` a JSON array of
-- [n, id, state, duplicate, seq, replaces] for those that are not simply waiting now (state: 0 waiting · 1 sending · as in
-- `ended`). Raises KU409 with a detail of [key, id] at a conflict of keys, KU423 while one is held.
CREATE FUNCTION submit(at float8, ids text[], places integer[], methods text[], params text[], prios smallint[],
  accepted float8[], extras text[], bots bigint[], chats text[], OUT seqs bigint[], OUT rest text)
LANGUAGE plpgsql AS $$
DECLARE
  plain constant boolean := NOT EXISTS (SELECT FROM unnest(extras) e WHERE e IS NOT NULL);
  lanes bigint[];
  now float8;
  dead text[];
  given json;
BEGIN
  PERFORM durable();
  IF plain THEN
    PERFORM admit(at, bots);
    lanes := enter_lanes(bots, chats);
  ELSE
    PERFORM take_keys_soon(ids, places, extras, bots);
    PERFORM admit(at, bots);
    lanes := lanes_of_new(new_drafts(ids, places, extras, bots, plain), places, bots, chats);
  END IF;
  now := time_of(at);
  seqs := order_numbers(ids, places, extras, bots, plain);
  IF NOT plain AND EXISTS (SELECT FROM unnest(seqs, places) d (seq, place) WHERE d.seq IS NOT NULL AND lanes[d.place] IS NULL)
  THEN
    RAISE EXCEPTION 'a key was given up meanwhile' USING ERRCODE = 'serialization_failure';
  END IF;
  SELECT e.dead, e.given INTO dead, given
  FROM enter(now, seqs, ids, places, methods, params, prios, accepted, extras, bots, lanes, plain) e;
  rest := told(seqs, ids, places, extras, bots, dead, given, plain);
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- `submit` inside a transaction that may stay open: no lane is touched. What it keeps enters its lane when a courier, a reader
-- or another submit finds it committed.
CREATE FUNCTION submit_later(at float8, ids text[], places integer[], methods text[], params text[], prios smallint[],
  accepted float8[], extras text[], bots bigint[], chats text[], OUT seqs bigint[], OUT rest text)
LANGUAGE plpgsql AS $$
DECLARE
  plain constant boolean := NOT EXISTS (SELECT FROM unnest(extras) e WHERE e IS NOT NULL);
  lanes bigint[];
BEGIN
  PERFORM durable();
  IF NOT plain THEN
    PERFORM take_keys(ids, places, extras, bots);
  END IF;
  seqs := order_numbers(ids, places, extras, bots, plain);
  INSERT INTO arrival (seq, bot, accepted_at, prio, chat, id, method, params, extra)
  SELECT d.seq, bots[d.place], d.accepted_at, d.prio, chats[d.place], d.id, d.method, d.params, d.extra
  FROM unnest(seqs, ids, places, methods, params, prios, accepted, extras)
    d (seq, id, place, method, params, prio, accepted_at, extra) WHERE d.seq IS NOT NULL;
  lanes := lanes_of(bots, chats);
  rest := told(seqs, ids, places, extras, bots, dead_drafts(seqs, places, extras, lanes, plain), NULL, plain);
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- What arrived for these bots in transactions that have committed enters its lanes. One at a time does so for a bot, so that
-- whoever comes behind finds the lanes as they should be.
CREATE FUNCTION admit(at float8, bots bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  b bigint;
  a record;
BEGIN
  IF NOT EXISTS (SELECT FROM arrival LIMIT 1) THEN
    RETURN;
  END IF;
  FOR b IN SELECT DISTINCT u FROM unnest(bots) u WHERE EXISTS (SELECT FROM arrival WHERE bot = u) ORDER BY u LOOP
    PERFORM pg_advisory_xact_lock(hashint8extended(b, 'arrival'::regclass::oid::bigint));
    LOOP
      WITH taken AS (
        DELETE FROM arrival WHERE seq = ANY (ARRAY(SELECT seq FROM arrival WHERE bot = b ORDER BY seq LIMIT 1000))
        RETURNING *),
      first AS (SELECT chat, row_number() OVER (ORDER BY min(seq))::integer AS place FROM taken GROUP BY chat),
      drafts AS (SELECT t.*, f.place FROM taken t JOIN first f ON f.chat = t.chat)
      SELECT array_agg(seq ORDER BY seq) AS seqs, array_agg(id ORDER BY seq) AS ids, array_agg(place ORDER BY seq) AS places,
        array_agg(method ORDER BY seq) AS methods, array_agg(d.params ORDER BY seq) AS params,
        array_agg(prio ORDER BY seq) AS prios, array_agg(accepted_at ORDER BY seq) AS accepted,
        array_agg(extra ORDER BY seq) AS extras, (SELECT array_agg(b) FROM first) AS bots,
        (SELECT array_agg(chat ORDER BY place) FROM first) AS chats INTO a FROM drafts d;
      EXIT WHEN a.seqs IS NULL;
      PERFORM admit_some(at, a.seqs, a.ids, a.places, a.methods, a.params, a.prios, a.accepted, a.extras, a.bots, a.chats);
    END LOOP;
  END LOOP;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

CREATE FUNCTION admit_some(at float8, seqs bigint[], ids text[], places integer[], methods text[], params text[],
  prios smallint[], accepted float8[], extras text[], bots bigint[], chats text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  lanes bigint[] := enter_lanes(bots, chats);
  now float8 := time_of(at);
BEGIN
  PERFORM enter(now, seqs, ids, places, methods, params, prios, accepted, extras, bots, lanes, false);
  PERFORM refresh(lanes, now);  -- they may come before what waits already
END $$;

CREATE FUNCTION admit_all(at float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM durable();
  PERFORM admit(at, ARRAY(SELECT DISTINCT bot FROM arrival));
END $$ SET search_path FROM CURRENT SET jit = off
SET plan_cache_mode = force_generic_plan;

-- New messages of locked lanes. Answers why some of them are dead, and which older ones gave way: see `dead_drafts` and
-- `coalesce_drafts`.
CREATE FUNCTION enter(now float8, seqs bigint[], ids text[], places integer[], methods text[], params text[],
  prios smallint[], accepted float8[], extras text[], bots bigint[], lanes bigint[], plain boolean, OUT dead text[],
  OUT given json) LANGUAGE plpgsql AS $$
BEGIN
  dead := dead_drafts(seqs, places, extras, lanes, plain);
  IF dead IS NOT NULL AND NOT plain THEN
    UPDATE lane SET suppressed = NULL, suppressed_at = NULL WHERE suppressed IS NOT NULL AND id IN (
      SELECT lanes[d.place] FROM unnest(seqs, places, extras) d (seq, place, extra)
      WHERE d.seq IS NOT NULL AND (d.extra::json ->> 'force')::boolean);
  END IF;
  PERFORM keep_drafts(now, seqs, ids, places, methods, params, prios, accepted, extras, bots, lanes, dead, plain);
  IF NOT plain THEN
    given := coalesce_drafts(now, seqs, ids, places, prios, extras, lanes, dead);
  END IF;
END $$;

-- The keys are these messages' from now on, where nobody has them. Waits for transactions that may be about to have them.
CREATE FUNCTION take_keys(ids text[], places integer[], extras text[], bots bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO key (bot, key, digest, id)
  SELECT DISTINCT ON (bot, key) bots[d.place] AS bot, x.key, decode(x.digest, 'hex'), d.id
  FROM unnest(ids, places, extras) WITH ORDINALITY d (id, place, extra, no),
    json_to_record(d.extra::json) x (key text, digest text)
  WHERE x.key IS NOT NULL ORDER BY bot, key, d.no ON CONFLICT DO NOTHING;
END $$;

-- `take_keys` for a submit that others' may be in one transaction with. Raises KU423 when somebody's transaction with one of
-- the keys stays open.
CREATE FUNCTION take_keys_soon(ids text[], places integer[], extras text[], bots bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM take_keys(ids, places, extras, bots);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'key held' USING ERRCODE = 'KU423';
END $$ SET lock_timeout = '500ms';

-- One for each draft that is new; null where its id is known, or its key another's.
CREATE FUNCTION order_numbers(ids text[], places integer[], extras text[], bots bigint[], plain boolean) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
  seqs bigint[] := new_drafts(ids, places, extras, bots, plain);
BEGIN
  SELECT array_agg(CASE WHEN d.seq IS NOT NULL THEN nextval('message_seq') END ORDER BY d.no)
  INTO seqs FROM unnest(seqs) WITH ORDINALITY d (seq, no);
  RETURN seqs;
END $$;

-- 0 for each draft that is new, null for the others.
CREATE FUNCTION new_drafts(ids text[], places integer[], extras text[], bots bigint[], plain boolean) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
  seqs bigint[];
BEGIN
  SELECT array_agg(CASE WHEN NOT EXISTS (SELECT FROM message m WHERE m.id = d.id)
    AND NOT EXISTS (SELECT FROM ended e WHERE e.id = d.id)
    AND NOT EXISTS (SELECT FROM arrival a WHERE a.id = d.id) THEN 0 END ORDER BY d.no)
  INTO seqs FROM unnest(ids) WITH ORDINALITY d (id, no);
  IF NOT plain THEN
    seqs := without_known_keys(seqs, ids, places, extras, bots);
  END IF;
  RETURN seqs;
END $$;

-- `enter_lanes`, but null for those that no new draft is for: a duplicate brings no lane into being.
CREATE FUNCTION lanes_of_new(seqs bigint[], places integer[], bots bigint[], chats text[]) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
  wanted constant integer[] := ARRAY(
    SELECT DISTINCT d.place FROM unnest(seqs, places) d (seq, place) WHERE d.seq IS NOT NULL ORDER BY 1);
  entered bigint[];
BEGIN
  entered := enter_lanes(ARRAY(SELECT bots[p] FROM unnest(wanted) WITH ORDINALITY w (p, no) ORDER BY no),
    ARRAY(SELECT chats[p] FROM unnest(wanted) WITH ORDINALITY w (p, no) ORDER BY no));
  IF cardinality(wanted) = cardinality(bots) THEN
    RETURN entered;
  END IF;
  RETURN ARRAY(SELECT entered[array_position(wanted, p)] FROM generate_series(1, cardinality(bots)) p ORDER BY p);
END $$;

-- Which drafts are new: null for those whose key another message has. `seqs` is null for those whose id is known.
CREATE FUNCTION without_known_keys(INOUT seqs bigint[], ids text[], places integer[], extras text[], bots bigint[])
LANGUAGE plpgsql AS $$
DECLARE
  clash record;
BEGIN
  SELECT x.key, k.id INTO clash
  FROM unnest(seqs, ids, places, extras) WITH ORDINALITY d (seq, id, place, extra, no),
    json_to_record(d.extra::json) x (key text, digest text), key k
  WHERE d.seq IS NOT NULL AND k.bot = bots[d.place] AND k.key = x.key AND k.id <> d.id
    AND k.digest IS DISTINCT FROM decode(x.digest, 'hex')
  ORDER BY d.no LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'key conflict' USING ERRCODE = 'KU409', DETAIL = json_build_array(clash.key, clash.id)::text;
  END IF;
  SELECT array_agg(CASE WHEN k.id IS NULL OR k.id = d.id THEN d.seq END ORDER BY d.no) INTO seqs
  FROM unnest(seqs, ids, places, extras) WITH ORDINALITY d (seq, id, place, extra, no)
    LEFT JOIN LATERAL json_to_record(d.extra::json) x (key text) ON d.extra IS NOT NULL
    LEFT JOIN key k ON k.bot = bots[d.place] AND k.key = x.key;
END $$;

-- Why drafts are dead on arrival, null where they are not (or altogether, when none is). A forced one lifts the suppression
-- for itself and for those behind it.
CREATE FUNCTION dead_drafts(seqs bigint[], places integer[], extras text[], lanes bigint[], plain boolean) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
  dead text[];
BEGIN
  IF EXISTS (SELECT FROM lane WHERE id = ANY (lanes) AND suppressed IS NOT NULL) THEN
    SELECT array_agg(CASE WHEN NOT lifted THEN 'suppressed: ' || suppressed END ORDER BY no) INTO dead FROM (
      SELECT d.no, l.suppressed,
        bool_or(d.seq IS NOT NULL AND NOT plain AND coalesce((d.extra::json ->> 'force')::boolean, false))
          OVER (PARTITION BY l.id ORDER BY d.no) AS lifted
      FROM unnest(seqs, places, extras) WITH ORDINALITY d (seq, place, extra, no)
        LEFT JOIN lane l ON l.id = lanes[d.place]) drafts;
  END IF;
  RETURN dead;
END $$;

-- The new messages, their metadata and files; their lanes get longer, and perhaps a head.
CREATE FUNCTION keep_drafts(now float8, seqs bigint[], ids text[], places integer[], methods text[], params text[],
  prios smallint[], accepted float8[], extras text[], bots bigint[], lanes bigint[], dead text[], plain boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF plain AND dead IS NULL THEN
    INSERT INTO message (seq, lane, bot, pos, due_at, accepted_at, prio, later, id, method, params)
    SELECT d.seq, lanes[d.place], bots[d.place], d.seq, 0, d.accepted_at, d.prio, false, d.id, d.method, d.params
    FROM unnest(seqs, ids, places, methods, params, prios, accepted) d (seq, id, place, method, params, prio, accepted_at)
    WHERE d.seq IS NOT NULL;
    PERFORM grow_lanes(now, seqs, places, prios, NULL, lanes);
    RETURN;
  END IF;
  PERFORM keep_dead(now, seqs, ids, places, methods, params, prios, accepted, extras, bots, lanes, dead);
  INSERT INTO message (seq, lane, bot, pos, due_at, accepted_at, expires_at, asked_at, prio, later, id, method, params, key,
    target, files, metadata, options)
  SELECT d.seq, lanes[d.place], bots[d.place], d.seq, CASE WHEN x.due > now THEN x.due ELSE 0 END, d.accepted_at, x.expires,
    CASE WHEN x.due > now THEN x.due END, d.prio, coalesce(x.due > now, false), d.id, d.method, d.params, x.key,
    x.target, x.files, x.metadata, x.options
  FROM unnest(seqs, ids, places, methods, params, prios, accepted, extras) WITH ORDINALITY
      d (seq, id, place, method, params, prio, accepted_at, extra, no)
    LEFT JOIN LATERAL json_to_record(d.extra::json) x (due float8, expires float8, key text, target text, files text,
      metadata text, options text) ON d.extra IS NOT NULL
  WHERE d.seq IS NOT NULL AND dead[d.no] IS NULL;
  INSERT INTO metadata (key, value, seq)
  SELECT e.key, e.value, d.seq FROM unnest(seqs, extras) d (seq, extra),
    json_each_text((d.extra::json ->> 'metadata')::json) e WHERE d.seq IS NOT NULL;
  INSERT INTO message_file (sha256, seq)
  SELECT DISTINCT e ->> 1, d.seq FROM unnest(seqs, extras) d (seq, extra),
    json_array_elements((d.extra::json ->> 'files')::json) e WHERE d.seq IS NOT NULL;
  PERFORM grow_lanes(now, alive, places, prios, extras, lanes) FROM (
    SELECT array_agg(CASE WHEN dead[d.no] IS NULL THEN d.seq END ORDER BY d.no) AS alive
    FROM unnest(seqs) WITH ORDINALITY d (seq, no)) left_alive;
END $$;

CREATE FUNCTION keep_dead(now float8, seqs bigint[], ids text[], places integer[], methods text[], params text[],
  prios smallint[], accepted float8[], extras text[], bots bigint[], lanes bigint[], dead text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF dead IS NULL THEN
    RETURN;
  END IF;
  WITH kept AS (
    INSERT INTO ended (seq, lane, bot, pos, due_at, accepted_at, ended_at, expires_at, asked_at, tries, attempts, doubts,
      crashes, prio, state, id, method, params, reason, key, target, files, metadata, options)
    SELECT d.seq, lanes[d.place], bots[d.place], d.seq, CASE WHEN x.due > now THEN x.due ELSE 0 END, d.accepted_at, now,
      x.expires, CASE WHEN x.due > now THEN x.due END, 0, 0, 0, 0, d.prio, 3, d.id, d.method, d.params, dead[d.no],
      x.key, x.target, x.files, x.metadata, x.options
    FROM unnest(seqs, ids, places, methods, params, prios, accepted, extras) WITH ORDINALITY
        d (seq, id, place, method, params, prio, accepted_at, extra, no)
      LEFT JOIN LATERAL json_to_record(d.extra::json) x (due float8, expires float8, key text, target text, files text,
        metadata text, options text) ON d.extra IS NOT NULL
    WHERE d.seq IS NOT NULL AND dead[d.no] IS NOT NULL RETURNING bot)
  INSERT INTO delta (bot, day, dead) SELECT bot, day_of(now), count(*) FROM kept GROUP BY bot;
END $$;

-- Lanes (locked) take in messages that wait. The first of the most urgent that are due is the head where it is more urgent
-- than the one there is.
CREATE FUNCTION grow_lanes(now float8, seqs bigint[], places integer[], prios smallint[], extras text[], lanes bigint[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  WITH joined AS (
    SELECT lanes[d.place] AS lane, count(*)::integer AS n, min(d.prio::bigint << 60 | d.seq)
      FILTER (WHERE d.extra IS NULL OR NOT coalesce((d.extra::json ->> 'due')::float8 > now, false)) AS first
    FROM unnest(seqs, places, prios, extras) d (seq, place, prio, extra) WHERE d.seq IS NOT NULL GROUP BY 1),
  decided AS (
    SELECT j.lane, j.n, (j.first & (1::bigint << 60) - 1) AS head, (j.first >> 60)::smallint AS prio,
      l.token IS NULL AND j.first IS NOT NULL AND (l.prio IS NULL OR j.first >> 60 < l.prio) AS leads
    FROM joined j JOIN lane l ON l.id = j.lane),
  grown AS (
    UPDATE lane l SET waiting = waiting + d.n,
      head = CASE WHEN d.leads THEN d.head ELSE l.head END, prio = CASE WHEN d.leads THEN d.prio ELSE l.prio END,
      head_at = CASE WHEN d.leads THEN now ELSE l.head_at END,
      next_at = CASE WHEN d.leads THEN greatest(now, l.chat_at) ELSE l.next_at END
    FROM decided d WHERE l.id = d.lane RETURNING l.bot, d.n, l.waiting = d.n AS woke)
  INSERT INTO delta (bot, waiting, lanes) SELECT bot, sum(n), count(*) FILTER (WHERE woke) FROM grown GROUP BY bot;
END $$;

-- Older messages of the same target give way to the new ones, which take their places if nothing in between would notice.
-- Answers {n: id of the one that gave way}.
CREATE FUNCTION coalesce_drafts(now float8, seqs bigint[], ids text[], places integer[], prios smallint[], extras text[],
  lanes bigint[], dead text[]) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  d record;
  old record;
  subject text;
  given jsonb := '{}';
BEGIN
  FOR d IN
    SELECT u.no, u.seq, u.id, u.prio, lanes[u.place] AS lane, x.target, coalesce(x.due > now, false) AS later
    FROM unnest(seqs, ids, places, prios, extras) WITH ORDINALITY u (seq, id, place, prio, extra, no),
      json_to_record(u.extra::json) x (due float8, target text, replaces boolean)
    WHERE u.seq IS NOT NULL AND dead[u.no] IS NULL AND x.replaces AND x.target IS NOT NULL ORDER BY u.no
  LOOP
    SELECT m.seq, m.pos, m.id INTO old FROM message m JOIN lane l ON l.id = m.lane
    WHERE m.lane = d.lane AND m.target = d.target AND m.prio = d.prio AND m.seq < d.seq
      AND NOT (l.token IS NOT NULL AND l.head = m.seq)
    ORDER BY m.pos DESC LIMIT 1;
    CONTINUE WHEN NOT FOUND;
    given := given || jsonb_build_object(d.no::text, old.id);
    subject := regexp_replace(d.target, ':[^:]*$', '');
    IF NOT EXISTS (SELECT FROM message WHERE lane = d.lane AND target >= subject || ':' AND target < subject || ';'
        AND pos > old.pos AND seq < d.seq) THEN
      UPDATE message SET pos = old.pos WHERE seq = d.seq;
      IF NOT d.later THEN
        UPDATE lane SET head = d.seq, head_at = least(head_at, now), next_at = greatest(chat_at, least(head_at, now))
        WHERE id = d.lane AND head = old.seq AND token IS NULL;
      END IF;
    END IF;
    PERFORM end_messages(ARRAY[old.seq], 4::smallint, 'superseded', now, d.id);
    PERFORM shorten(d.lane, 1);
    PERFORM refresh(ARRAY[d.lane], now);
  END LOOP;
  RETURN given;
END $$;

-- What is to be told of drafts that are not simply waiting now.
CREATE FUNCTION told(seqs bigint[], ids text[], places integer[], extras text[], bots bigint[], dead text[], given json,
  plain boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  IF plain AND dead IS NULL AND array_position(seqs, NULL) IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN (
    SELECT json_agg(json_build_array(d.no, coalesce(k.id, d.id), CASE WHEN d.seq IS NULL THEN state_of(coalesce(k.id, d.id))
      WHEN dead[d.no] IS NOT NULL THEN 3 ELSE 0 END,
      d.seq IS NULL AND coalesce(k.id <> d.id, false), seq_of(coalesce(k.id, d.id)), given ->> d.no::text) ORDER BY d.no)
    FROM unnest(seqs, ids, places, extras) WITH ORDINALITY d (seq, id, place, extra, no)
      LEFT JOIN key k ON d.seq IS NULL AND d.extra IS NOT NULL AND k.bot = bots[d.place] AND k.key = d.extra::json ->> 'key'
        AND state_of(d.id) IS NULL
    WHERE d.seq IS NULL OR dead[d.no] IS NOT NULL OR given ->> d.no::text IS NOT NULL)::text;
END $$;

CREATE FUNCTION state_of(its_id text) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN l.token IS NOT NULL AND l.head = m.seq THEN 1 ELSE 0 END
  FROM message m JOIN lane l ON l.id = m.lane WHERE m.id = its_id
  UNION ALL SELECT state FROM ended WHERE id = its_id
  UNION ALL SELECT 0 FROM arrival WHERE id = its_id
$$;

CREATE FUNCTION seq_of(its_id text) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT seq FROM message WHERE id = its_id UNION ALL SELECT seq FROM ended WHERE id = its_id
  UNION ALL SELECT seq FROM arrival WHERE id = its_id
$$;
