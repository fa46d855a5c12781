-- The verb `settle`, of several calls at once. Settlement n belongs to the request `requests[calls[n]]`; `states`: 0 waits again
-- in its place · 1 waits for later · as in `ended`. `extras[n]` is a JSON object of what follows from it, or null. A request that
-- was carried out before (asked for where `repeated`) is answered as it was then, and cannot be carried out twice: its number is
-- kept. Raises KU409 as `submit` does. Answers, in order, which were valid.
CREATE FUNCTION settle(at float8, requests bigint[], repeated boolean, calls integer[], bots bigint[], lanes bigint[],
  tokens bigint[], seqs bigint[], states smallint[], reasons text[], dues float8[], quiets float8[], tries integer[],
  attempts integer[], doubts integer[], crashes integer[], tried text[], tried_ats float8[], results text[], extras text[])
RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
  now float8;
  valid boolean[];
  before json;
  turn boolean[];
BEGIN
  PERFORM durable();
  PERFORM FROM lane WHERE id = ANY (lanes) ORDER BY id FOR UPDATE;
  now := time_of(at);
  IF repeated THEN
    SELECT json_object_agg(r.id, r.answer::json) INTO before FROM request r WHERE r.id = ANY (requests);
  END IF;
  SELECT array_agg(l.id IS NOT NULL AND before -> requests[s.call]::text IS NULL AND s.nth = 1 ORDER BY s.no) INTO valid
  FROM (
    SELECT u.*, row_number() OVER (PARTITION BY u.lane, u.token, u.seq ORDER BY u.no) AS nth
    FROM unnest(lanes, tokens, seqs, calls) WITH ORDINALITY u (lane, token, seq, call, no)) s
    LEFT JOIN lane l ON l.id = s.lane AND l.token = s.token AND l.head = s.seq;
  FOREACH turn SLICE 1 IN ARRAY turns(valid, lanes, extras) LOOP
    PERFORM settle_some(at, now, turn, requests, before, calls, bots, lanes, seqs, states, reasons, dues, quiets, tries,
      attempts, doubts, crashes, tried, tried_ats, results, extras);
  END LOOP;
  INSERT INTO request (id, answer)
  SELECT r.id, (SELECT json_agg(u.v ORDER BY u.no)::text FROM unnest(valid, calls) WITH ORDINALITY u (v, call, no)
    WHERE u.call = r.no)
  FROM unnest(requests) WITH ORDINALITY r (id, no) WHERE before -> r.id::text IS NULL;
  IF before IS NOT NULL THEN
    SELECT array_agg(coalesce((before -> requests[u.call]::text ->> u.place)::boolean, u.v) ORDER BY u.no) INTO valid FROM (
      SELECT v, call, no, (row_number() OVER (PARTITION BY call ORDER BY no))::integer - 1 AS place
      FROM unnest(valid, calls) WITH ORDINALITY w (v, call, no)) u;
  END IF;
  RETURN valid;
END $$ SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan;

-- Settlements have to look as if they had come one after the other, yet are carried out many at a time: a turn ends behind a
-- move, and behind follow-ups for the lane of a settlement still to come (a lane that moves may become part of one). Answers
-- which are valid, turn by turn: null for those of other turns.
CREATE FUNCTION turns(valid boolean[], lanes bigint[], extras text[]) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
  last constant integer := cardinality(lanes);
  moving bigint[];
  ends integer[];
BEGIN
  IF last > 1 AND EXISTS (SELECT FROM unnest(extras) e WHERE e IS NOT NULL) THEN
    moving := ARRAY(
      SELECT u.lane FROM unnest(valid, lanes, extras) u (valid, lane, extra)
      WHERE u.valid AND u.extra::json -> 'moved_to' IS NOT NULL);
    ends := ARRAY(
      SELECT u.no FROM unnest(valid, lanes, extras) WITH ORDINALITY u (valid, lane, extra, no)
      WHERE u.valid AND u.extra IS NOT NULL AND u.no < last AND (u.lane = ANY (moving)
        OR (lanes[u.no + 1:] || moving) && follow_up_lanes(u.extra::json -> 'follow_ups')) ORDER BY u.no);
  END IF;
  IF cardinality(ends) > 0 THEN
    ends := ends || last;
    RETURN (
      SELECT array_agg(of_turn ORDER BY turn) FROM (
        SELECT t.turn, array_agg(CASE WHEN u.no > coalesce(ends[t.turn - 1], 0) AND u.no <= ends[t.turn] THEN u.valid END
          ORDER BY u.no) AS of_turn
        FROM generate_subscripts(ends, 1) t (turn), unnest(valid) WITH ORDINALITY u (valid, no) GROUP BY t.turn) each_turn);
  END IF;
  RETURN ARRAY[valid];
END $$;

-- The lanes there are for follow-ups, given as for `follow_up`.
CREATE FUNCTION follow_up_lanes(given json) RETURNS bigint[] LANGUAGE sql STABLE AS $$
  SELECT lanes_of(ARRAY(SELECT json_array_elements_text(given -> 7)::bigint),
    ARRAY(SELECT json_array_elements_text(given -> 8)))
$$;

-- Settlements of one turn: the valid ones are carried out, those that are not are counted (null: neither).
CREATE FUNCTION settle_some(at float8, now float8, valid boolean[], requests bigint[], before json, calls integer[],
  bots bigint[], lanes bigint[], seqs bigint[], states smallint[], reasons text[], dues float8[], quiets float8[],
  tries integer[], attempts integer[], doubts integer[], crashes integer[], tried text[], tried_ats float8[], results text[],
  extras text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  successors text[];
BEGIN
  IF 1 = ANY (states) THEN
    successors := newer_ones(seqs, states, valid);
    IF successors IS NOT NULL THEN
      SELECT array_agg(CASE WHEN u.id IS NULL THEN u.state ELSE 4 END ORDER BY no),
        array_agg(CASE WHEN u.id IS NULL THEN u.reason ELSE 'superseded' END ORDER BY no),
        array_agg(CASE WHEN u.id IS NULL THEN u.due ELSE 0 END ORDER BY no) INTO states, reasons, dues
      FROM unnest(successors, states, reasons, dues) WITH ORDINALITY u (id, state, reason, due, no);
    END IF;
  END IF;
  PERFORM settle_messages(now, valid, seqs, states, reasons, dues, tries, attempts, doubts, crashes, tried, tried_ats, results,
    successors);
  PERFORM free_lanes(now, valid, bots, lanes, states, quiets, calls, requests, before);
  IF EXISTS (SELECT FROM unnest(extras) e WHERE e IS NOT NULL) THEN
    PERFORM consequences(at, now, valid, bots, lanes, extras);
  END IF;
END $$;

-- For messages to wait until later: the newest waiting one of the same target, if it is newer. Null if there is none at all.
CREATE FUNCTION newer_ones(seqs bigint[], states smallint[], valid boolean[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  newer text[];
BEGIN
  SELECT array_agg(CASE WHEN u.valid AND u.state = 1 THEN (
    SELECT n.id FROM message m JOIN message n ON n.lane = m.lane AND n.target = m.target AND n.seq > m.seq
    WHERE m.seq = u.seq AND m.target IS NOT NULL ORDER BY n.seq DESC LIMIT 1) END ORDER BY no) INTO newer
  FROM unnest(seqs, states, valid) WITH ORDINALITY u (seq, state, valid, no);
  RETURN CASE WHEN EXISTS (SELECT FROM unnest(newer) id WHERE id IS NOT NULL) THEN newer END;
END $$;

CREATE FUNCTION settle_messages(now float8, valid boolean[], seqs bigint[], states smallint[], reasons text[], dues float8[],
  all_tries integer[], all_attempts integer[], all_doubts integer[], all_crashes integer[], all_tried text[], tried_ats float8[], results text[],
  successors text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  WITH s AS MATERIALIZED (
    SELECT * FROM unnest(seqs, valid, states, reasons, dues, all_tries, all_attempts, all_doubts, all_crashes, all_tried, tried_ats, results,
      successors) u (seq, valid, state, reason, due, tries, attempts, doubts, crashes, tried, tried_at, result, successor)
    WHERE u.valid AND u.state >= 2),
  gone AS (DELETE FROM message m USING s WHERE m.seq = s.seq RETURNING m.*)
  INSERT INTO ended (seq, lane, bot, pos, due_at, accepted_at, ended_at, expires_at, asked_at, requeued_at, tried_at, tries,
    attempts, doubts, crashes, prio, state, id, method, params, reason, key, target, files, metadata, options, tried, result,
    superseded_by)
  SELECT g.seq, g.lane, g.bot, g.pos, s.due, g.accepted_at, now, g.expires_at, g.asked_at, g.requeued_at,
    coalesce(s.tried_at, g.tried_at), s.tries, s.attempts, s.doubts, s.crashes, g.prio, s.state, g.id, g.method, g.params,
    s.reason, g.key, g.target, g.files, g.metadata, g.options,
    nullif(concat_ws(',', nullif(g.tried, ''), s.tried), ''), s.result, s.successor
  FROM gone g JOIN s ON s.seq = g.seq;
  IF 0 = ANY (states) OR 1 = ANY (states) THEN
    UPDATE message m SET reason = s.reason, due_at = s.due, tries = s.tries, attempts = s.attempts, doubts = s.doubts,
      crashes = s.crashes, later = s.state = 1 AND s.due > now, tried_at = coalesce(s.tried_at, m.tried_at),
      tried = CASE WHEN s.tried IS NULL THEN m.tried ELSE concat_ws(',', nullif(m.tried, ''), s.tried) END
    FROM unnest(seqs, valid, states, reasons, dues, all_tries, all_attempts, all_doubts, all_crashes, all_tried, tried_ats)
      s (seq, valid, state, reason, due, tries, attempts, doubts, crashes, tried, tried_at)
    WHERE s.valid AND s.state < 2 AND m.seq = s.seq;
  END IF;
END $$;

-- The lanes are free again, each with the head it has now; all is counted.
CREATE FUNCTION free_lanes(now float8, valid boolean[], bots bigint[], lanes bigint[], states smallint[], quiets float8[],
  calls integer[], requests bigint[], before json) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  WITH s AS MATERIALIZED (
    SELECT * FROM unnest(bots, lanes, states, quiets, valid) u (bot, lane, state, quiet, valid) WHERE u.valid),
  freed AS (
    UPDATE lane l SET token = NULL, request = NULL, waiting = l.waiting - (s.state >= 2)::integer,
      chat_why = CASE WHEN s.quiet > l.chat_at THEN NULL ELSE l.chat_why END, chat_at = greatest(l.chat_at, s.quiet),
      head = h.seq, prio = h.prio, head_at = greatest(h.due_at, CASE WHEN h.seq IS NOT NULL THEN now END),
      next_at = CASE WHEN h.seq IS NOT NULL THEN greatest(h.due_at, now, l.chat_at, s.quiet) END
    FROM s LEFT JOIN LATERAL (
      SELECT seq, prio, due_at FROM message WHERE lane = s.lane AND NOT later ORDER BY prio, pos LIMIT 1) h ON true
    WHERE l.id = s.lane RETURNING l.bot, s.state, l.waiting),
  counted AS (
    SELECT bot, -count(*) FILTER (WHERE state >= 2) AS waiting, -count(*) FILTER (WHERE state >= 2 AND waiting = 0) AS lanes,
      count(*) FILTER (WHERE state = 2) AS delivered, count(*) FILTER (WHERE state = 3) AS dead,
      count(*) FILTER (WHERE state = 4) AS cancelled, count(*) FILTER (WHERE state = 5) AS expired, 0 AS fenced
    FROM freed GROUP BY bot
    UNION ALL
    SELECT u.bot, 0, 0, 0, 0, 0, 0, count(*) FROM unnest(bots, valid, calls) u (bot, valid, call)
    WHERE NOT u.valid AND before -> requests[u.call]::text IS NULL GROUP BY u.bot)
  INSERT INTO delta (bot, day, waiting, lanes, delivered, dead, cancelled, expired, fenced)
  SELECT bot, day_of(now), waiting, lanes, delivered, dead, cancelled, expired, fenced FROM counted
  WHERE waiting < 0 OR fenced > 0;
END $$;

-- What else follows from settlements, one after the other: a chat that moved, a suppression, file ids learned, follow-ups.
CREATE FUNCTION consequences(at float8, now float8, valid boolean[], bots bigint[], lanes bigint[], extras text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  s record;
  today bigint;
BEGIN
  FOR s IN
    SELECT u.bot, u.lane, l.chat, x.* FROM unnest(valid, bots, lanes, extras) WITH ORDINALITY u (valid, bot, lane, extra, no)
      JOIN lane l ON l.id = u.lane,
      json_to_record(u.extra::json) x (moved_to text, suppress text, file_ids json, follow_ups json)
    WHERE u.valid ORDER BY u.no
  LOOP
    today := s.lane;
    IF s.moved_to IS NOT NULL THEN
      PERFORM move_lane(s.lane, s.moved_to, now);
      SELECT coalesce(n.lane, o.lane) INTO today FROM name n
        LEFT JOIN name o ON o.bot = n.bot AND o.chat = n.moved_to WHERE n.bot = s.bot AND n.chat = s.chat;
    END IF;
    IF s.suppress IS NOT NULL THEN
      PERFORM suppress_lane(today, s.suppress, now);
    END IF;
    IF s.file_ids IS NOT NULL THEN
      INSERT INTO file_id (bot, sha256, kind, file_id) SELECT s.bot, e ->> 0, e ->> 1, e ->> 2
      FROM json_array_elements(s.file_ids) e
      ON CONFLICT (bot, sha256, kind) DO UPDATE SET file_id = excluded.file_id;
    END IF;
    IF s.follow_ups IS NOT NULL THEN
      PERFORM follow_up(at, s.follow_ups);
    END IF;
  END LOOP;
END $$;

-- `submit` with its arguments as one JSON array.
CREATE FUNCTION follow_up(at float8, given json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM submit(at, ARRAY(SELECT json_array_elements_text(given -> 0)),
    ARRAY(SELECT json_array_elements_text(given -> 1)::integer), ARRAY(SELECT json_array_elements_text(given -> 2)),
    ARRAY(SELECT json_array_elements_text(given -> 3)), ARRAY(SELECT json_array_elements_text(given -> 4)::smallint),
    ARRAY(SELECT json_array_elements_text(given -> 5)::float8), ARRAY(SELECT json_array_elements_text(given -> 6)),
    ARRAY(SELECT json_array_elements_text(given -> 7)::bigint), ARRAY(SELECT json_array_elements_text(given -> 8)));
END $$;
