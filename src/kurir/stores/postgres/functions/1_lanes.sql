-- What the other functions share. Whoever changes which messages a lane has, or their order, holds the lane's row lock, and
-- takes such locks in the order of their ids; what a lane has is looked at in a statement that begins after the lock is held.

-- A commit must be on disk before it is told of, whatever the server's default.
CREATE FUNCTION durable() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
END $$;

-- The server's time in Unix seconds, unless the caller's is to be believed.
CREATE FUNCTION time_of(at float8) RETURNS float8 LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(at, extract(epoch FROM clock_timestamp())::float8)
$$;

CREATE FUNCTION day_of(at float8) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(to_timestamp(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')
$$;

-- Guards who holds a bot: shared by claims, alone by a change of holder. Ends with the transaction.
CREATE FUNCTION bot_lock(its_bot bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT hashint8extended(its_bot, 'bot'::regclass::oid::bigint)
$$;

-- The lanes of these chats as they are called today, in order; null where there is none.
CREATE FUNCTION lanes_of(bots bigint[], chats text[]) RETURNS bigint[] LANGUAGE sql STABLE AS $$
  SELECT array_agg(coalesce(own.lane, today.lane) ORDER BY w.no)
  FROM unnest(bots, chats) WITH ORDINALITY w (bot, chat, no)
    LEFT JOIN name own ON own.bot = w.bot AND own.chat = w.chat
    LEFT JOIN name today ON today.bot = w.bot AND today.chat = own.moved_to
$$;

-- The lanes of these chats as they are called today, made where there are none, and locked. Answers their ids in order.
CREATE FUNCTION enter_lanes(bots bigint[], chats text[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
  lanes bigint[];
  held integer;
BEGIN
  LOOP
    lanes := lanes_of(bots, chats);
    IF array_position(lanes, NULL) IS NULL THEN
      SELECT count(*) INTO held FROM (SELECT 1 FROM lane WHERE id = ANY (lanes) ORDER BY id FOR UPDATE) locked;
      EXIT WHEN held = (SELECT count(DISTINCT id) FROM unnest(lanes) id);  -- else one went meanwhile: look again
    ELSE
      PERFORM make_lanes(bots, chats);
    END IF;
  END LOOP;
  RETURN lanes;
END $$;

-- Lanes come into being in the order of their first message; their names are taken in the order of the names.
CREATE FUNCTION make_lanes(bots bigint[], chats text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bot (id) SELECT DISTINCT b FROM unnest(bots) b ORDER BY b ON CONFLICT DO NOTHING;
  WITH missing AS MATERIALIZED (
    SELECT bot, chat, nextval('lane_id') AS id FROM (
      SELECT w.bot, coalesce(own.moved_to, w.chat) AS chat
      FROM unnest(bots, chats) WITH ORDINALITY w (bot, chat, no)
        LEFT JOIN name own ON own.bot = w.bot AND own.chat = w.chat
        LEFT JOIN name today ON today.bot = w.bot AND today.chat = own.moved_to
      WHERE coalesce(own.lane, today.lane) IS NULL
      GROUP BY 1, 2 ORDER BY min(w.no)) in_order),
  named AS (
    INSERT INTO name (bot, chat, lane) SELECT bot, chat, id FROM missing ORDER BY bot, chat
    ON CONFLICT DO NOTHING RETURNING bot, chat, lane)
  INSERT INTO lane (id, bot, chat) SELECT lane, bot, chat FROM named;
END $$;

-- The heads of lanes (locked) are looked for again; one that is still the head keeps its turn, a new one came to it at
-- `since`. A row that stays as it is is not written.
CREATE FUNCTION refresh(lanes bigint[], since float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE lane l SET head = h.seq, prio = h.prio, head_at = h.head_at, next_at = h.next_at
  FROM (
    SELECT o.id, m.seq, m.prio, t.head_at, CASE WHEN m.seq IS NOT NULL THEN greatest(t.head_at, o.chat_at) END AS next_at
    FROM unnest(lanes) w (id) JOIN lane o ON o.id = w.id
      LEFT JOIN LATERAL (
        SELECT seq, prio, due_at FROM message WHERE lane = w.id AND NOT later ORDER BY prio, pos LIMIT 1) m ON true
      CROSS JOIN LATERAL (
        SELECT CASE WHEN m.seq = o.head THEN o.head_at WHEN m.seq IS NOT NULL THEN greatest(m.due_at, since) END) t (head_at)
    WHERE o.token IS NULL) h
  WHERE l.id = h.id AND (l.head, l.prio, l.head_at, l.next_at) IS DISTINCT FROM (h.seq, h.prio, h.head_at, h.next_at);
END $$;

-- `n` messages of a lane (locked) wait no more.
CREATE FUNCTION shorten(its_lane bigint, n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF n > 0 THEN
    WITH l AS (UPDATE lane SET waiting = waiting - n WHERE id = its_lane RETURNING bot, waiting)
    INSERT INTO delta (bot, waiting, lanes) SELECT bot, -n, CASE WHEN waiting = 0 THEN -1 ELSE 0 END FROM l;
  END IF;
END $$;

-- Waiting messages of locked lanes end. Their lanes are not told.
CREATE FUNCTION end_messages(seqs bigint[], its_state smallint, why text, now float8, by_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  WITH gone AS (DELETE FROM message WHERE seq = ANY (seqs) RETURNING *),
  kept AS (
    INSERT INTO ended (seq, lane, bot, pos, due_at, accepted_at, ended_at, expires_at, asked_at, requeued_at, tried_at, tries,
      attempts, doubts, crashes, prio, state, id, method, params, reason, key, target, files, metadata, options, tried,
      superseded_by)
    SELECT seq, lane, bot, pos, due_at, accepted_at, now, expires_at, asked_at, requeued_at, tried_at, tries,
      attempts, doubts, crashes, prio, its_state, id, method, params, why, key, target, files, metadata, options, tried,
      by_id
    FROM gone RETURNING bot)
  INSERT INTO delta (bot, day, delivered, dead, cancelled, expired)
  SELECT bot, day_of(now), count(*) FILTER (WHERE its_state = 2), count(*) FILTER (WHERE its_state = 3),
    count(*) FILTER (WHERE its_state = 4), count(*) FILTER (WHERE its_state = 5) FROM kept GROUP BY bot;
END $$;

-- Nobody writes to this chat any more; what waits for it (and is not in flight) ends dead. The lane is locked.
CREATE FUNCTION suppress_lane(its_lane bigint, why text, now float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  seqs bigint[];
BEGIN
  UPDATE lane SET suppressed = why, suppressed_at = now WHERE id = its_lane;
  SELECT array_agg(m.seq) INTO seqs FROM message m JOIN lane l ON l.id = m.lane
  WHERE m.lane = its_lane AND NOT (l.token IS NOT NULL AND l.head = m.seq);
  IF seqs IS NOT NULL THEN
    PERFORM end_messages(seqs, 3::smallint, 'suppressed: ' || why, now, NULL);
    PERFORM shorten(its_lane, cardinality(seqs));
    PERFORM refresh(ARRAY[its_lane], now);
  END IF;
END $$;

-- The lane's chat has another id now. An existing lane of that chat takes the messages in. The lane is locked.
CREATE FUNCTION move_lane(its_lane bigint, new_name text, now float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  old lane;
  target record;
  today text;
BEGIN
  SELECT * INTO old FROM lane WHERE id = its_lane;
  SELECT coalesce(moved_to, chat) INTO today FROM name WHERE bot = old.bot AND chat = new_name;
  today := coalesce(today, new_name);
  IF today = old.chat THEN  -- so it is called already, or back to a name it once had
    RETURN;
  END IF;
  INSERT INTO name (bot, chat, lane) VALUES (old.bot, today, its_lane) ON CONFLICT DO NOTHING;
  SELECT * INTO target FROM name WHERE bot = old.bot AND chat = today;
  UPDATE name SET moved_to = today WHERE bot = old.bot AND moved_to = old.chat;
  UPDATE name SET moved_to = today, lane = NULL WHERE bot = old.bot AND chat = old.chat;
  IF target.lane = its_lane THEN
    UPDATE lane SET chat = today WHERE id = its_lane;
  ELSE
    PERFORM merge_lane(old.id, target.lane, now);
  END IF;
END $$;

CREATE FUNCTION merge_lane(from_lane bigint, into_lane bigint, now float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  old lane;
  other lane;
BEGIN
  SELECT * INTO other FROM lane WHERE id = into_lane FOR UPDATE;
  SELECT * INTO old FROM lane WHERE id = from_lane;
  UPDATE message SET lane = into_lane WHERE lane = from_lane;
  UPDATE ended SET lane = into_lane WHERE lane = from_lane;
  DELETE FROM lane WHERE id = from_lane;
  UPDATE lane SET waiting = waiting + old.waiting,
    chat_why = CASE WHEN old.chat_at > chat_at THEN old.chat_why ELSE chat_why END, chat_at = greatest(chat_at, old.chat_at)
  WHERE id = into_lane;
  IF old.waiting > 0 AND other.waiting > 0 THEN
    INSERT INTO delta (bot, lanes) VALUES (old.bot, -1);
  END IF;
  PERFORM refresh(ARRAY[into_lane], now);
END $$;
