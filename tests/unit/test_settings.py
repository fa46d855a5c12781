"""Settings: environment over file over default; errors name the field and the remedy; tokens never show."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from kurir.app import Kurir
from kurir.core.errors import InvalidSetting
from kurir.core.pace import Limits, Rate
from kurir.core.policy import Policy
from kurir.settings import KNOBS, OTHER_ENV, Bot, Settings, load

TOKEN = "123456789:AAsecretsecretsecretsecretsecret"
OTHER = "987654321:BBsecretsecretsecretsecretsecret"
EXAMPLE = Path(__file__).parents[2] / "kurir.example.toml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kurir.toml of this machine, no environment of this shell."""
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Path:
    path = Path("kurir.toml")
    path.write_text(text, "utf8")
    return path


def refused(environ: dict[str, str] | None = None, toml: str = "", *, field: str) -> InvalidSetting:
    written(toml)
    with pytest.raises(InvalidSetting) as caught:
        load(environ or {})
    assert caught.value.field == field
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- precedence


def test_nothing_set_is_all_defaults() -> None:
    assert load({}) == Settings()


def test_the_file_wins_over_defaults() -> None:
    written('store = "memory://"\n[telegram]\nread_timeout = 90')
    assert load({}) == Settings(store="memory://", read_timeout=90.0)


def test_the_environment_wins_over_the_file() -> None:
    written('store = "memory://"\nconcurrency = 5')
    assert load({"KURIR_STORE": "sqlite:///other.db"}) == Settings(store="sqlite:///other.db", concurrency=5)


def test_an_empty_variable_counts_as_not_set() -> None:
    written('store = "memory://"')
    assert load({"KURIR_STORE": ""}).store == "memory://"


def test_every_knob_has_both_doors() -> None:
    texts = {
        "KURIR_STORE": "memory://",
        "KURIR_TELEGRAM_URL": "http://localhost:8081",
        "KURIR_LOCAL_SERVER": "on",
        "KURIR_PROXY": "socks5://u:p@proxy:1080",
        "KURIR_CONNECT_TIMEOUT": "3",
        "KURIR_READ_TIMEOUT": "100",
        "KURIR_FILES": "/var/files",
        "KURIR_CONCURRENCY": "7",
        "KURIR_HISTORY_DAYS": "8",
        "KURIR_SUPPRESSION_DAYS": "9",
        "KURIR_LOG_LEVEL": "DEBUG",
        "KURIR_LOG_TEXTS": "yes",
        "KURIR_TRACES": "on",
        "KURIR_LISTEN": "0.0.0.0:80",
        "KURIR_API_KEY": "a-key-of-16-characters",
        "KURIR_GATEWAY_WAIT": "4",
        "KURIR_REST_RATE": "50",
        "KURIR_SPOOL": "spool.db",
        "KURIR_SPOOL_MB": "64",
    }
    assert set(texts) == {knob.env for knob in KNOBS}
    by_env = load(texts)
    table: dict[str, dict[str, Any]] = {"": {}}
    for knob in KNOBS:
        section, _, name = knob.toml.rpartition(".")
        number = texts[knob.env].isdigit()
        table.setdefault(section, {})[name] = texts[knob.env] if number else f'"{texts[knob.env]}"'
    text = ""
    for section, pairs in table.items():
        text += (f"[{section}]\n" if section else "") + "".join(f"{k} = {v}\n" for k, v in pairs.items())
    written(text)
    by_file = load({})
    assert by_env == by_file
    for knob in KNOBS:
        assert getattr(by_env, knob.name) != getattr(Settings(), knob.name), knob.name


def test_files_go_to_a_folder_or_a_bucket() -> None:
    assert load({"KURIR_FILES": "~/files"}).files == Path.home() / "files"
    url = "s3://bucket/prefix?endpoint_url=http://minio:9000"
    assert load({"KURIR_FILES": url}).files == url


def test_kurir_config_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('store = "memory://"')
    assert load({"KURIR_CONFIG": str(path)}).store == "memory://"


def test_a_named_file_that_is_missing_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="does not exist") as caught:
        load({"KURIR_CONFIG": "/no/such.toml"})
    assert caught.value.field == "KURIR_CONFIG"


def test_what_is_no_toml_is_refused() -> None:
    assert "kurir.example.toml" in refused(toml="store = ", field="kurir.toml").remedy


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KURIR_TELEGRAM_URL", "api.telegram.org"),
        ("KURIR_TELEGRAM_URL", "ftp://api.telegram.org"),
        ("KURIR_FILES", "ftp://host/folder"),
        ("KURIR_LOCAL_SERVER", "maybe"),
        ("KURIR_PROXY", "proxy:1080"),
        ("KURIR_CONNECT_TIMEOUT", "soon"),
        ("KURIR_CONNECT_TIMEOUT", "0"),
        ("KURIR_READ_TIMEOUT", "nan"),
        ("KURIR_READ_TIMEOUT", "inf"),
        ("KURIR_CONCURRENCY", "0"),
        ("KURIR_CONCURRENCY", "20000"),
        ("KURIR_CONCURRENCY", "2.5"),
        ("KURIR_HISTORY_DAYS", "-1"),
        ("KURIR_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_it_was_given(name: str, value: str) -> None:
    refused({name: value}, field=name)


@pytest.mark.parametrize(
    ("toml", "field"),
    [
        ("store = 5", "store"),
        ("concurrency = true", "concurrency"),
        ('[telegram]\nread_timeout = "long"', "telegram.read_timeout"),
        ("telegram = 5", "telegram"),
        ("[pace]\nbot = 'fast'", "pace.bot"),
        ("[pace]\nbot = '0/s'", "pace.bot"),
        ("[pace]\nspeed = 5", "pace.speed"),
        ("[pace]\non = 'maybe'", "pace.on"),
        ("[pace]\nlow_share = 2", "pace.low_share"),
        ("[pace]\nchat_burst = 0", "pace.chat_burst"),
        ("pace = 5", "pace"),
        ("[retry]\nquick = 5", "retry.quick"),
        ("[retry]\nquick = [1, 'two']", "retry.quick[1]"),
        ("[retry]\nslow = [-1]", "retry.slow[0]"),
        ("[retry]\ncrash_limit = 0", "retry.crash_limit"),
        ("retry = 5", "retry"),
        ("bots = 5", "bots"),
        ("[bots]\nshop = 5", "bots.shop"),
        (f"[bots.shop]\ntoken = '{TOKEN}'\npace.chat = 'x'", "bots.shop.pace.chat"),
        (f"[bots.shop]\ntoken = '{TOKEN}'\n[bots.news]\ntoken = '{TOKEN}'", "bots"),
    ],
)
def test_a_wrong_value_in_the_file_is_refused_by_its_place(toml: str, field: str) -> None:
    refused(toml=toml, field=field)


def test_the_retry_schedule_is_settable() -> None:
    written("[retry]\nquick = [1, 2]\nslow = [60]\ncrash_limit = 5\ndoubt_limit = 9")
    assert load({}).policy == Policy(quick=(1.0, 2.0), slow=(60.0,), crash_limit=5, doubt_limit=9)


# ---------------------------------------------------------------- bots


def test_one_token_in_the_environment_is_the_default_bot() -> None:
    (bot,) = load({"KURIR_BOT_TOKEN": TOKEN}).bots
    assert (bot.name, bot.id, bot.token) == ("default", 123456789, TOKEN)


def test_blanks_around_a_token_are_dropped() -> None:
    assert load({"KURIR_BOT_TOKEN": f" {TOKEN}\n"}).bots[0].token == TOKEN


def test_several_bots_have_names_and_paces_of_their_own() -> None:
    written(f"[pace]\nchat = '2/s'\n[bots.shop]\ntoken = '{TOKEN}'\npace.bot = '10/s'\n[bots.news]\ntoken = '{OTHER}'")
    shop, news = load({}).bots
    assert (shop.name, shop.limits) == ("shop", Limits(bot=Rate(10), chat=Rate(2)))
    assert (news.name, news.limits) == ("news", Limits(chat=Rate(2)))


def test_the_environments_token_stands_beside_the_files_bots() -> None:
    written(f"[bots.news]\ntoken = '{OTHER}'")
    assert [bot.name for bot in load({"KURIR_BOT_TOKEN": TOKEN}).bots] == ["default", "news"]


@pytest.mark.parametrize("token", ["secret", "12345678901", "123456789:with blank", ":AAsecret", "abc:AAsecret"])
def test_a_malformed_token_is_refused_and_not_repeated(token: str) -> None:
    error = refused({"KURIR_BOT_TOKEN": token}, field="token of bot 'default'")
    assert token not in str(error)
    assert "@BotFather" in error.remedy


def test_a_bot_without_a_token_is_refused() -> None:
    refused(toml="[bots.shop]\npace.bot = '10/s'", field="token of bot 'shop'")


def test_tokens_and_proxy_passwords_are_never_shown() -> None:
    settings = load({"KURIR_BOT_TOKEN": TOKEN, "KURIR_PROXY": "socks5://user:secret@proxy:1080"})
    for shown in (repr(settings), str(settings), repr(settings.bots), f"{settings.bots[0]}"):
        assert "secret" not in shown


def test_a_store_password_is_never_shown_by_the_error() -> None:
    with pytest.raises(InvalidSetting) as caught:
        Kurir("nosql://user:secret@host/db", TOKEN)
    assert "secret" not in str(caught.value)


def test_a_store_password_is_never_shown_by_the_settings() -> None:
    assert "secret" not in repr(load({"KURIR_STORE": "postgresql://user:secret@host/db"}))


@pytest.mark.parametrize("off", ["off", "false", "0", "no", "OFF"])
def test_kurir_pace_off_lifts_all_limits(off: str) -> None:
    written(f"[bots.news]\ntoken = '{OTHER}'")
    assert [bot.limits.on for bot in load({"KURIR_BOT_TOKEN": TOKEN, "KURIR_PACE": off}).bots] == [False, False]


def test_pace_is_on_or_off_in_the_file_too() -> None:
    written(f"pace = false\n[bots.news]\ntoken = '{OTHER}'")
    assert load({}).bots[0].limits == Limits(on=False)


def test_a_courier_without_a_bot_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="BotFather") as caught:
        Kurir("memory://", settings=Settings())
    assert caught.value.field == "KURIR_BOT_TOKEN"


def test_an_unknown_keyword_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidSetting, match="concurrency") as caught:
        Kurir("memory://", TOKEN, settings=Settings(), concurency=5)
    assert caught.value.field == "concurency"


# ---------------------------------------------------------------- unknown names


def test_an_unknown_variable_is_warned_of_with_the_nearest() -> None:
    assert load({"KURIR_STOER": "x"}).warnings == ("unknown setting KURIR_STOER; did you mean KURIR_STORE?",)


def test_an_unknown_name_in_the_file_is_warned_of_with_the_nearest() -> None:
    written("concurency = 5")
    assert load({}).warnings == ("unknown setting concurency; did you mean concurrency?",)


@pytest.mark.parametrize(
    ("toml", "name", "nearest"),
    [
        ("[telegram]\nread_timout = 5", "telegram.read_timout", "telegram.read_timeout"),
        ("[retry]\nslwo = [5]", "retry.slwo", "retry.slow"),
        (f"[bots.shop]\ntoken = '{TOKEN}'\npaec.bot = '5/s'", "bots.shop.paec", "bots.shop.pace"),
    ],
)
def test_an_unknown_name_in_a_table_is_warned_of_with_the_nearest(toml: str, name: str, nearest: str) -> None:
    written(toml)
    assert load({}).warnings == (f"unknown setting {name}; did you mean {nearest}?",)


def test_the_known_names_are_not_warned_of() -> None:
    good = {"KURIR_BOT_TOKEN": TOKEN, "KURIR_PACE": "on", "KURIR_LISTEN": ":1", "PATH": "x"}
    assert load(good).warnings == ()


# ---------------------------------------------------------------- the example file


def test_the_example_is_exactly_the_defaults() -> None:
    assert load({}, EXAMPLE) == Settings()


def test_the_example_sets_the_pace_it_calls_default() -> None:
    text = EXAMPLE.read_text("utf8") + f"\n[bots.shop]\ntoken = '{TOKEN}'\n"
    assert load({}, written(text)).bots == (Bot("shop", TOKEN, Limits()),)


def test_the_example_mentions_every_knob() -> None:
    text = EXAMPLE.read_text("utf8")
    shown = re.sub(r"^# (?=[\[a-z_.]+( =|\]))", "", text, flags=re.MULTILINE)
    table = tomllib.loads(shown)
    for knob in KNOBS:
        assert f"[{knob.env}]" in text, knob.env
        value: Any = table
        for part in knob.toml.split("."):
            assert part in value, knob.toml
            value = value[part]
    assert "KURIR_PACE" in text
    assert "KURIR_BOT_TOKEN" in text


@pytest.mark.parametrize("name", [f.name for f in fields(Policy) if f.name != "jitter"])
def test_the_example_mentions_every_part_of_the_policy(name: str) -> None:
    assert name in tomllib.loads(EXAMPLE.read_text("utf8"))["retry"]


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load({}).store = "x"  # type: ignore[misc]
    assert replace(load({}), store="x").store == "x"


def test_every_contract_variable_is_known() -> None:
    known = {knob.env for knob in KNOBS} | set(OTHER_ENV)
    contract = "STORE BOT_TOKEN TELEGRAM_URL LISTEN API_KEY PACE LOG_LEVEL CONFIG SPOOL FILES"
    assert {f"KURIR_{name}" for name in contract.split()} <= known


# ---------------------------------------------------------------- the doors


@pytest.mark.parametrize("text", ["8080", ":8080", "0.0.0.0:8080", "[::1]:8080", "kurir.local:8080"])
def test_an_address_to_listen_on_is_taken_in_every_usual_spelling(text: str) -> None:
    assert load({"KURIR_LISTEN": text}).listen.endswith(":8080")


@pytest.mark.parametrize("text", ["localhost", "host:port", "host:99999", "::1:80", "http://x:80"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="host:port"):
        load({"KURIR_LISTEN": text})


def test_an_api_key_that_is_easily_guessed_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidSetting) as raised:
        load({"KURIR_API_KEY": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_a_bot_says_how_it_wants_to_be_answered() -> None:
    written(f'[bots.shop]\ntoken = "{TOKEN}"\ntest = true\nwait = 4\nrespond_async = "on"\n')
    (bot,) = load({}).bots
    assert (bot.test, bot.wait, bot.respond_async) == (True, 4.0, True)


def test_a_spool_is_a_file_with_a_size() -> None:
    assert load({}).spool is None
    written('spool = "spool.db"\nspool_mb = 5\n')
    assert (load({}).spool, load({}).spool_mb) == (Path("spool.db"), 5)
    assert load({"KURIR_SPOOL": "/var/spool/kurir.db"}).spool == Path("/var/spool/kurir.db")
    with pytest.raises(InvalidSetting, match="KURIR_SPOOL_MB"):
        load({"KURIR_SPOOL_MB": "0"})
