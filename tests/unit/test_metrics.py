"""`/metrics`: what is counted, from whom it is taken, and what it must never hold."""

from __future__ import annotations

import math
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from platform import python_version

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving import serving

from kurir import Kurir, Settings
from kurir.core.errors import Undelivered
from kurir.core.events import (
    Altered,
    Attempted,
    Called,
    Crashed,
    Event,
    Fenced,
    Forwarded,
    OutageBegan,
    Recovered,
    Settled,
    StoreTrouble,
    Submitted,
)
from kurir.core.judge import Again, Finish, Verdict
from kurir.core.message import Accepted, Claim, Draft, Priority, State
from kurir.core.outcome import Delivered, Failed, Outcome, Refused, Scope, Throttled
from kurir.observe.counts import Recent
from kurir.observe.families import Live, Local
from kurir.observe.prometheus import REMEMBERED, Metrics
from kurir.ports import BotStats, Stats
from kurir.simulator.harness import Telegram
from kurir.web.health import measured, routes

NOW = 1_800_000_000.0
CLAIM = Claim(1, 1, 1, "m1", 7, "424242", "sendMessage", b'{"text":"secret"}', Priority.NORMAL, NOW)
DRAFT = Draft("m1", 7, "424242", "sendMessage", b'{"text":"secret"}', NOW)
SENT = Finish(State.DELIVERED)
EMPTY = Stats(store={"engine": "memory"})

Values = dict[str, float]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({7: "shop"}, "1.2.3")


def read(text: bytes) -> Values:
    """`name{label="value",...}` -> value, for all samples."""
    values = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values


def values(metrics: Metrics, stats: Stats | None = EMPTY, *live: Live) -> Values:
    ours = read(metrics.text(stats, live, NOW))
    return {name: value for name, value in ours.items() if name.startswith("kurir_")}


def attempted(outcome: Outcome, claim: Claim = CLAIM, duration: float = 0.2) -> Attempted:
    verdict: Verdict = SENT
    if isinstance(outcome, Refused):
        verdict = Finish(State.DEAD, "no")
    elif isinstance(outcome, Throttled | Failed):
        verdict = Again(NOW + 1, "again")
    return Attempted(claim, outcome, verdict, NOW, duration)


def settled(state: State, reason: str | None = None, claim: Claim = CLAIM, at: float = NOW + 2) -> Settled:
    return Settled(claim, state, reason, None, 0.0, at)


# ---------------------------------------------------------------- counters


def test_what_is_accepted_is_counted_by_priority_and_a_known_key_apart(metrics: Metrics) -> None:
    low = replace(DRAFT, id="m2", priority=Priority.LOW)
    metrics.hear(Submitted((DRAFT, low), (Accepted("m1", State.WAITING), Accepted("m2", State.WAITING))))
    metrics.hear(Submitted((DRAFT,), (Accepted("m1", State.WAITING, duplicate=True),)))
    metrics.hear(Submitted((DRAFT,), (Accepted("m3", State.WAITING, replaces="m1"),)))
    now = values(metrics)
    assert now['kurir_submitted_total{bot="shop",priority="normal"}'] == 2
    assert now['kurir_submitted_total{bot="shop",priority="low"}'] == 1
    assert now['kurir_duplicates_total{bot="shop"}'] == 1
    assert now['kurir_superseded_total{bot="shop"}'] == 1


def test_what_is_spooled_is_counted_apart_and_what_becomes_of_it_when_it_is_forwarded(metrics: Metrics) -> None:
    metrics.hear(Submitted((DRAFT,), (Accepted("m1", State.WAITING, spooled=True),)))
    metrics.hear(Forwarded((DRAFT,), (Accepted("m1", State.DEAD),)))
    now = values(metrics)
    assert now['kurir_submitted_total{bot="shop",priority="normal"}'] == 1
    assert (now['kurir_spooled_total{bot="shop"}'], now['kurir_forwarded_total{bot="shop"}']) == (1, 1)
    assert now['kurir_dead_total{bot="shop",reason="suppressed"}'] == 1


def test_what_the_machine_knows_of_its_store_is_told_also_while_that_is_away(metrics: Metrics) -> None:
    now = read(metrics.text(None, (), NOW, Local(spooled=7, stuck=1, spool_bytes=4096, open=True)))
    told = ("kurir_spool_messages", "kurir_spool_stuck", "kurir_spool_bytes", "kurir_store_circuit_open")
    assert [now[name] for name in told] == [7, 1, 4096, 1]
    assert not set(told) & set(read(metrics.text(None, (), NOW)))


@pytest.mark.parametrize(
    ("outcome", "reason", "label"),
    [
        (Refused(Scope.RECIPIENT, "Forbidden: bot was blocked by the user"), "Forbidden: ...", "recipient"),
        (Refused(Scope.RIGHTS, "not enough rights"), "not enough rights", "rights"),
        (Refused(Scope.MESSAGE, "message text is empty"), "message text is empty", "message"),
        (None, "suppressed: Forbidden", "suppressed"),
        (None, "gave up after 16 tries: Bad Gateway", "tries"),
        (None, "unknown: read timeout", "unknown"),
        (None, "poison: in flight at 3 crashes", "poison"),
        (None, "a chat it refers to moved to -100", "message"),
        (None, "whatever", "other"),
        (None, None, "other"),
    ],
)
def test_the_dead_are_counted_by_a_few_reasons(
    metrics: Metrics, outcome: Outcome | None, reason: str | None, label: str
) -> None:
    if outcome is not None:
        metrics.hear(attempted(outcome))
    metrics.hear(settled(State.DEAD, reason))
    dead = {name: n for name, n in values(metrics).items() if name.startswith("kurir_dead_total") and n}
    assert dead == {f'kurir_dead_total{{bot="shop",reason="{label}"}}': 1}


def test_the_reason_of_a_refusal_is_forgotten_once_told(metrics: Metrics) -> None:
    metrics.hear(attempted(Refused(Scope.RECIPIENT, "blocked")))
    metrics.hear(settled(State.DEAD, "blocked"))
    metrics.hear(settled(State.DEAD, "blocked"))
    assert values(metrics)['kurir_dead_total{bot="shop",reason="recipient"}'] == 1


def test_memory_for_what_is_never_settled_is_bounded(metrics: Metrics) -> None:
    for number in range(REMEMBERED + 10):
        claim = replace(CLAIM, id=f"m{number}")
        metrics.hear(attempted(Refused(Scope.RECIPIENT, "blocked"), claim))
    assert len(metrics._scopes) == REMEMBERED


def test_attempts_are_counted_by_outcome_and_timed_by_class(metrics: Metrics) -> None:
    for outcome in (Delivered(), Throttled(3.0), Failed("502"), Refused(Scope.MESSAGE, "no")):
        metrics.hear(attempted(outcome))
    metrics.hear(attempted(Delivered(), replace(CLAIM, method="editMessageText"), 0.003))
    now = values(metrics)
    assert now['kurir_attempts_total{bot="shop",outcome="delivered"}'] == 2
    assert now['kurir_attempts_total{bot="shop",outcome="throttled"}'] == 1
    assert now['kurir_attempts_total{bot="shop",outcome="refused"}'] == 1
    assert now['kurir_attempts_total{bot="shop",outcome="unknown"}'] == 0
    assert now['kurir_throttled_total{bot="shop"}'] == 1
    assert now['kurir_api_call_seconds_count{bot="shop",class="sends"}'] == 4
    assert now['kurir_api_call_seconds_sum{bot="shop",class="sends"}'] == pytest.approx(0.8)
    assert now['kurir_api_call_seconds_bucket{bot="shop",class="sends",le="0.1"}'] == 0
    assert now['kurir_api_call_seconds_bucket{bot="shop",class="sends",le="0.25"}'] == 4
    assert now['kurir_api_call_seconds_bucket{bot="shop",class="sets",le="0.005"}'] == 1


def test_delivery_is_timed_from_acceptance_the_due_time_or_the_retry_by_hand(metrics: Metrics) -> None:
    metrics.hear(settled(State.DELIVERED))
    tomorrow = replace(CLAIM, id="m2", asked_at=NOW + 86400)
    metrics.hear(settled(State.DELIVERED, claim=tomorrow, at=NOW + 86400.2))
    retried = replace(tomorrow, requeued_at=NOW + 90000)
    metrics.hear(settled(State.DELIVERED, claim=retried, at=NOW + 90000.3))
    now = values(metrics)
    assert now['kurir_delivered_total{bot="shop"}'] == 3
    assert now['kurir_delivery_seconds_sum{bot="shop"}'] == pytest.approx(2.5, abs=1e-3)
    assert now['kurir_delivery_seconds_bucket{bot="shop",le="0.25"}'] == 1
    assert now['kurir_delivery_seconds_bucket{bot="shop",le="+Inf"}'] == 3


def test_a_message_that_is_tried_again_has_not_ended(metrics: Metrics) -> None:
    before = values(metrics)
    metrics.hear(settled(State.WAITING, "502"))
    assert values(metrics) == before


@pytest.mark.parametrize(
    ("event", "sample"),
    [
        (settled(State.EXPIRED), 'kurir_expired_total{bot="shop"}'),
        (settled(State.CANCELLED), 'kurir_cancelled_total{bot="shop"}'),
        (Altered(("m1",), State.CANCELLED, NOW), 'kurir_altered_total{to="cancelled"}'),
        (Altered(("m1",), State.EXPIRED, NOW, 7, by_hand=False), 'kurir_expired_total{bot="shop"}'),
        (
            Altered(("m1",), State.DEAD, NOW, 7, "suppressed: blocked", by_hand=False),
            'kurir_dead_total{bot="shop",reason="suppressed"}',
        ),
        (Altered(("m1",), State.WAITING, NOW), 'kurir_altered_total{to="waiting"}'),
        (Altered(("m1",), None, NOW), 'kurir_altered_total{to="purged"}'),
        (Forwarded((DRAFT,), (Accepted("m1", State.WAITING),)), 'kurir_forwarded_total{bot="shop"}'),
        (Fenced(CLAIM), 'kurir_fenced_total{bot="shop"}'),
        (Recovered(7, 1), 'kurir_recovered_total{bot="shop"}'),
        (OutageBegan(7, "refused"), 'kurir_outages_total{bot="shop"}'),
        (StoreTrouble("settle", "full"), "kurir_store_troubles_total"),
        (Crashed("kurir-courier-7", "KeyError"), 'kurir_crashes_total{loop="courier"}'),
        (Crashed("the delivery of m1", "KeyError"), 'kurir_crashes_total{loop="delivery"}'),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_an_event_counts_once_and_its_counter_stands_at_nought_before(
    metrics: Metrics, event: Event, sample: str
) -> None:
    before = values(metrics)
    metrics.hear(event)
    after = values(metrics)
    assert before[sample] == 0
    assert {name for name in after if after[name] != before[name]} == {sample}
    assert after[sample] == 1


def test_calls_that_are_not_stored_are_counted_by_class(metrics: Metrics) -> None:
    metrics.hear(Called(7, "getMe", "cached", 0.0, 0))
    metrics.hear(Called(7, "sendChatAction", "throttled", 0.1, 2))
    now = values(metrics)
    assert now['kurir_direct_calls_total{bot="shop",class="asks",outcome="cached"}'] == 1
    assert now['kurir_direct_calls_total{bot="shop",class="now",outcome="throttled"}'] == 1
    assert now['kurir_direct_repeats_total{bot="shop"}'] == 2
    assert now['kurir_throttled_total{bot="shop"}'] == 1


def test_requests_are_counted_by_door_and_status_and_timed(metrics: Metrics) -> None:
    metrics.request("gateway", 200, 0.02)
    metrics.request("gateway", 504, 25.0)
    metrics.request("rest", 202, 0.002)
    now = values(metrics)
    assert now['kurir_requests_total{door="gateway",status="504"}'] == 1
    assert now['kurir_requests_total{door="rest",status="202"}'] == 1
    assert now['kurir_request_seconds_count{door="gateway"}'] == 2
    assert now['kurir_request_seconds_bucket{door="rest",le="0.0025"}'] == 1


def test_a_bot_without_a_name_is_told_by_its_id(metrics: Metrics) -> None:
    metrics.hear(settled(State.DELIVERED, claim=replace(CLAIM, bot=99)))
    assert values(metrics)['kurir_delivered_total{bot="99"}'] == 1


def test_all_that_a_suppression_ended_is_dead_and_by_hand_it_is_told_as_such_too(metrics: Metrics) -> None:
    for by_hand in (False, True):
        metrics.hear(Altered(("m1", "m2"), State.DEAD, NOW, 7, "suppressed: blocked", by_hand=by_hand))
    now = values(metrics)
    assert now['kurir_dead_total{bot="shop",reason="suppressed"}'] == 4
    assert now['kurir_altered_total{to="dead"}'] == 2


def test_a_message_to_a_suppressed_chat_is_accepted_and_dead_at_once(metrics: Metrics) -> None:
    metrics.hear(Submitted((DRAFT,), (Accepted("m1", State.DEAD),)))
    metrics.hear(Submitted((DRAFT,), (Accepted("m1", State.DEAD, duplicate=True),)))
    now = values(metrics)
    assert now['kurir_submitted_total{bot="shop",priority="normal"}'] == 1
    assert now['kurir_dead_total{bot="shop",reason="suppressed"}'] == 1


async def test_the_dead_of_a_real_suppression_are_counted_as_the_store_counts_them(telegram: Telegram) -> None:
    kurir = Kurir("memory://", telegram.token, telegram_url=telegram.url, settings=Settings(), pace="off")
    metrics = measured(kurir)
    telegram.fail("slow", seconds=0.3)
    telegram.close_chat(424242)
    async with kurir:
        receipts = [await kurir.send_text(424242, f"{n}") for n in range(4)]
        for receipt in receipts:
            with pytest.raises(Undelivered):
                await receipt.delivered(timeout=10)
        with pytest.raises(Undelivered):
            await (await kurir.send_text(424242, "too late")).delivered(timeout=10)
        stats = await kurir.store.stats()
    now = read(metrics.text(stats, (), NOW))
    assert now['kurir_dead_total{bot="default",reason="recipient"}'] == 1
    assert now['kurir_dead_total{bot="default",reason="suppressed"}'] == 4
    assert now['kurir_messages{bot="default",state="dead"}'] == 5


# ---------------------------------------------------------------- gauges


def test_the_stores_figures_are_gauges(metrics: Metrics) -> None:
    bot = BotStats(
        7, 12, 2, 100, 5, 1, 3, 4, NOW - 90, 0, "host:1", NOW + 5, math.inf, "refused: Unauthorized"
    )  # fmt: skip
    now = values(metrics, Stats((bot,), (), {"engine": "SQLite 3", "bytes": 4096}))
    assert now['kurir_waiting{bot="shop"}'] == 12
    assert now['kurir_sending{bot="shop"}'] == 2
    assert now['kurir_lanes{bot="shop"}'] == 4
    assert now['kurir_messages{bot="shop",state="dead"}'] == 5
    assert now['kurir_oldest_past_due_seconds{bot="shop"}'] == 90
    assert now['kurir_paused{bot="shop"}'] == 1
    assert now['kurir_refused{bot="shop"}'] == 1
    assert now['kurir_leased{bot="shop"}'] == 1
    assert now["kurir_store_bytes"] == 4096
    assert now["kurir_store_up"] == 1
    assert now[f'kurir_build_info{{python="{python_version()}",store="SQLite 3",version="1.2.3"}}'] == 1


def test_a_bot_the_store_has_not_heard_of_stands_at_nought(metrics: Metrics) -> None:
    now = values(metrics)
    assert now['kurir_waiting{bot="shop"}'] == 0
    assert now['kurir_leased{bot="shop"}'] == 0
    assert now['kurir_oldest_past_due_seconds{bot="shop"}'] == 0


def test_a_bot_that_is_configured_no_more_is_not_told_of(metrics: Metrics) -> None:
    now = values(metrics, Stats((BotStats(99, waiting=3),)))
    assert not any('bot="99"' in name for name in now)


def test_a_lease_that_ran_out_is_nobodys(metrics: Metrics) -> None:
    stats = Stats((BotStats(7, holder="host:1", lease_until=NOW - 1),))
    assert values(metrics, stats)['kurir_leased{bot="shop"}'] == 0


def test_the_couriers_facts_are_gauges(metrics: Metrics) -> None:
    for second in range(-10, 0):
        for _ in range(25):
            metrics.hear(replace(attempted(Delivered()), started_at=NOW + second, duration=0.0))
    now = values(metrics, EMPTY, Live(7, 24.0, 30.0, 9, True))
    assert now['kurir_courier{bot="shop"}'] == 1
    assert now['kurir_pace_allowed{bot="shop"}'] == 24
    assert now['kurir_pace_ceiling{bot="shop"}'] == 30
    assert now['kurir_pace_used{bot="shop"}'] == 25
    assert now['kurir_in_flight{bot="shop"}'] == 9
    assert now['kurir_outage{bot="shop"}'] == 1
    assert values(metrics)['kurir_courier{bot="shop"}'] == 0


def test_the_rate_of_the_last_seconds_falls_to_nought_when_nothing_leaves() -> None:
    recent = Recent()
    for number in range(300):
        recent.note(NOW + number * 0.1)
    assert recent.rate(NOW + 30) == 10
    assert recent.rate(NOW + 35) == 5
    assert recent.rate(NOW + 41) == 0
    assert recent.rate(NOW + 1_000_000) == 0


def test_the_rate_survives_a_clock_that_is_set_back() -> None:
    recent = Recent()
    recent.note(NOW)
    recent.note(NOW - 3600)
    assert recent.rate(NOW + 1) == 0.2


def test_commits_are_a_histogram(metrics: Metrics) -> None:
    store = {
        "engine": "x",
        "commits": 10,
        "commit_seconds": 0.5,
        "commit_buckets": [[0.01, 4], [0.1, 9], [math.inf, 10]],
    }
    now = values(metrics, Stats(store=store))
    assert now['kurir_store_commit_seconds_bucket{le="0.01"}'] == 4
    assert now['kurir_store_commit_seconds_bucket{le="0.1"}'] == 9
    assert now['kurir_store_commit_seconds_bucket{le="+Inf"}'] == 10
    assert now["kurir_store_commit_seconds_count"] == 10
    assert now["kurir_store_commit_seconds_sum"] == 0.5


def test_while_the_store_is_away_the_counters_are_told_all_the_same(metrics: Metrics) -> None:
    metrics.hear(settled(State.DELIVERED))
    now = values(metrics, None)
    assert now["kurir_store_up"] == 0
    assert now['kurir_delivered_total{bot="shop"}'] == 1
    assert not any(name.startswith(("kurir_waiting", "kurir_messages")) for name in now)


# ---------------------------------------------------------------- what it costs, what it must not hold


def test_hearing_an_event_costs_no_more_than_a_few_dozen_calls(metrics: Metrics) -> None:
    """About 1 us where an empty call takes 0.05 us: measured against it, since other processes slow both."""
    events = [Submitted((DRAFT,), (Accepted("m1", State.WAITING),)), attempted(Delivered()), settled(State.DELIVERED)]

    def cost(hear: Callable[[Event], None], event: Event) -> float:
        return min(timeit.repeat(lambda: hear(event), number=500, repeat=30, timer=time.thread_time))

    for event in events:
        assert cost(metrics.hear, event) < 60 * cost(lambda _: None, event), type(event).__name__


async def test_a_real_kurir_answers_metrics_without_chats_texts_or_tokens(telegram: Telegram) -> None:
    options = {"telegram_url": telegram.url, "settings": Settings(), "pace": "off"}
    kurir = Kurir("memory://", telegram.token, **options)
    metrics = measured(kurir)
    async with kurir, serving(routes(kurir, metrics)) as url, aiohttp.ClientSession() as session:
        receipt = await kurir.send_text(424242, "the secret words")
        await receipt.delivered(timeout=10)
        async with session.get(f"{url}/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = await answer.read()
    now = read(text)
    assert now['kurir_delivered_total{bot="default"}'] == 1
    assert now['kurir_courier{bot="default"}'] == 1
    assert now['kurir_leased{bot="default"}'] == 1
    assert now['kurir_messages{bot="default",state="delivered"}'] == 1
    assert now["process_resident_memory_bytes"] > 0
    for private in ("424242", "secret words", telegram.token, telegram.token.split(":")[1]):
        assert private.encode() not in text
