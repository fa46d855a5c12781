"""Formatted text: Telegram's entities, its words for what it cannot parse, and lengths in UTF-16 units.

The cases marked td are those of td's own test/message_entities.cpp."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.simulator import World

from .helpers import Ask, result, why

CANNOT = "Bad Request: can't parse entities: "

MARKDOWN_ERRORS = [  # td
    ("🏟 🏟_abacaba", "Can't find end of Italic entity at byte offset 9"),
    ("🏟 🏟_abac * asd ", "Can't find end of Bold entity at byte offset 15"),
    ("🏟 🏟_abac * asd _", "Can't find end of Italic entity at byte offset 21"),
    ("🏟 🏟`", "Can't find end of Code entity at byte offset 9"),
    ("🏟 🏟```", "Can't find end of Pre entity at byte offset 9"),
    ("🏟 🏟```a", "Can't find end of Pre entity at byte offset 9"),
    ("🏟 🏟```a ", "Can't find end of PreCode entity at byte offset 9"),
    ("🏟 🏟__🏟 🏟_", "Can't find end of Italic entity at byte offset 20"),
    ("🏟 🏟_🏟 🏟__", "Can't find end of Underline entity at byte offset 19"),
    ("🏟 🏟```🏟 🏟`", "Can't find end of Code entity at byte offset 21"),
    ("🏟 🏟```🏟 🏟\\`", "Can't find end of PreCode entity at byte offset 9"),
    ("[telegram\\.org](asd\\)", "Can't find end of a URL at byte offset 16"),
    ("[telegram\\.org](", "Can't find end of a URL at byte offset 16"),
    ("🏟 🏟__🏟 _🏟___", "Can't find end of Italic entity at byte offset 23"),
    ("🏟 🏟||test\\|", "Can't find end of Spoiler entity at byte offset 9"),
    ("🏟 🏟!", "Character '!' is reserved and must be escaped with the preceding '\\'"),
    ("🏟 🏟>", "Character '>' is reserved and must be escaped with the preceding '\\'"),
    ("🏟 🏟![👍", "Can't find end of CustomEmoji entity at byte offset 9"),
    ("🏟 🏟![👍]", "Custom emoji entity must contain a tg://emoji URL"),
    ("🏟 🏟![👍](tg://emoji?id=1234", "Can't find end of a custom emoji URL at byte offset 17"),
    ("🏟 🏟![👍](t://emoji?id=1234)", "Custom emoji URL must have scheme tg"),
    ("🏟 🏟![👍](tg:emojis?id=1234)", 'Custom emoji URL must have host "emoji"'),
    ("🏟 🏟![👍](tg://emoji#test)", "Custom emoji URL must have an emoji identifier"),
    ("🏟 🏟![👍](tg://emoji?test=1#&id=25)", "Custom emoji URL must have an emoji identifier"),
    ("🏟 🏟![👍](tg://emoji?test=1231&id=025)", "Invalid custom emoji identifier specified"),
    (">*b\n>ld \n>bo\nld*\nasd\ndef", "Can't find end of Bold entity at byte offset 1"),
    (">\n*a*>2", "Character '>' is reserved and must be escaped with the preceding '\\'"),
    (">asd\n>q||e||w||\n||asdad", "Can't find end of Spoiler entity at byte offset 16"),
    (">asd\n>q||ew\n||asdad", "Can't find end of Spoiler entity at byte offset 7"),
    (">asd\n>q||e||w__\n||asdad", "Can't find end of Underline entity at byte offset 13"),
    (">asd\n>q||e||w||a\n||asdad", "Can't find end of Spoiler entity at byte offset 13"),
]

MARKDOWN = [  # td
    ("\\\\\\\\\\_\\*\\`", "\\\\_*`", []),
    ("🏟 🏟_abac \\* asd _", "🏟 🏟abac * asd", [("italic", 5, 10)]),
    ("🏟 🏟_🏟 *🏟*_", "🏟 🏟🏟 🏟", [("italic", 5, 5), ("bold", 8, 2)]),
    ("🏟 🏟_🏟 __🏟___", "🏟 🏟🏟 🏟", [("italic", 5, 5), ("underline", 8, 2)]),
    ("🏟 🏟`🏟 🏟```", "🏟 🏟🏟 🏟", [("code", 5, 5)]),
    ("🏟 🏟```🏟\n🏟```", "🏟 🏟🏟", [("pre", 5, 2)]),
    ("||test||", "test", [("spoiler", 0, 4)]),
    ("🏟 🏟____", "🏟 🏟", []),
    ("[telegram\\.org](asdasd)", "telegram.org", []),
    ("[telegram\\.org](tg:user?id=123456)", "telegram.org", [("text_mention", 0, 12)]),
    ("[telegram\\.org](https://telegram.dog?)", "telegram.org", [("text_link", 0, 12)]),
    (">\n**>2x", "2x", [("blockquote", 0, 2)]),  # the first, empty quotation is trimmed away
    ("a\n>b\n>c\nd", "a\nb\nc\nd", [("blockquote", 2, 4)]),
    ("*>abcd\n*x", "abcd\nx", [("blockquote", 0, 5), ("bold", 0, 5)]),
    (">asd\n>q||e||w||\nasdad", "asd\nqew\nasdad", [("expandable_blockquote", 0, 8), ("spoiler", 5, 1)]),
    (">asd\n>q||ew||\nasdad", "asd\nqew\nasdad", [("blockquote", 0, 8), ("spoiler", 5, 2)]),
    ("`>b\n>ld \n>bo\nld`\n>asd\ndef", ">b\n>ld \n>bo\nld\nasd\ndef", [("code", 0, 14), ("blockquote", 15, 4)]),
]

HTML_ERRORS = [
    ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
    ("<b>a<i>b</b></i>", 'Unmatched end tag at byte offset 8, expected "</i>", found "</b>"'),
    ("a < b", 'Unsupported start tag "" at byte offset 2'),
    ("<script>x</script>", 'Unsupported start tag "script" at byte offset 0'),
    ("привет <b", "Unclosed start tag at byte offset 13"),
    ("<a href='x>y", "Unclosed start tag at byte offset 0"),
    ("x</b>", "Unexpected end tag at byte offset 1"),
    ("<b>x</b", "Unclosed end tag at byte offset 4"),
    ("<a =1>x</a>", 'Empty attribute name in the tag "a" at byte offset 0'),
    ("<a href>x</a>", 'Expected equal sign in declaration of an attribute of the tag "a" at byte offset 0'),
    ("<a href=a&b>x</a>", "Unexpected end of name token at byte offset 8"),
    ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ('<tg-emoji emoji-id="x">x</tg-emoji>', "Invalid custom emoji identifier specified"),
]

HTML = [
    ("<b>a</b> &lt;&gt;&amp;&quot;&#33;&#x21; &nbsp;", 'a <>&"!! &nbsp;', [("bold", 0, 1)]),
    ("<STRONG>a</strong><em>🏟</em>", "a🏟", [("bold", 0, 1), ("italic", 1, 2)]),
    ('<span class="tg-spoiler">a</span>', "a", [("spoiler", 0, 1)]),
    ("<blockquote expandable>a</blockquote>", "a", [("expandable_blockquote", 0, 1)]),
    ('<pre><code class="language-py">a</code></pre>', "a", [("pre", 0, 1)]),
    ("<a href='t.me/x'>a</a>", "a", [("text_link", 0, 1)]),
    ("<a href='nowhere'>a</a>", "a", []),
    ("<b></b>a", "a", []),
]


def shown(message: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(one["type"], one["offset"], one["length"]) for one in message.get("entities", [])]


@pytest.mark.parametrize(("text", "words"), MARKDOWN_ERRORS)
def test_bad_markdown_v2_is_refused_in_telegrams_words(ask: Ask, text: str, words: str) -> None:
    assert why(ask("sendMessage", chat_id=1, text=text, parse_mode="MarkdownV2")) == CANNOT + words


@pytest.mark.parametrize("char", list("])#+-=|{}.!>"))
def test_each_reserved_character_must_be_escaped(ask: Ask, char: str) -> None:
    words = f"Character '{char}' is reserved and must be escaped with the preceding '\\'"
    assert why(ask("sendMessage", chat_id=1, text=f"a{char}", parse_mode="MarkdownV2")) == CANNOT + words
    assert result(ask("sendMessage", chat_id=1, text=f"a\\{char}", parse_mode="MarkdownV2"))["text"] == f"a{char}"


@pytest.mark.parametrize(("text", "plain", "entities"), MARKDOWN)
def test_markdown_v2_becomes_entities(ask: Ask, text: str, plain: str, entities: list[Any]) -> None:
    message = result(ask("sendMessage", chat_id=1, text=text, parse_mode="MarkdownV2"))
    assert (message["text"], shown(message)) == (plain, entities)


@pytest.mark.parametrize(("text", "words"), HTML_ERRORS)
def test_bad_html_is_refused_in_telegrams_words(ask: Ask, text: str, words: str) -> None:
    assert why(ask("sendMessage", chat_id=1, text=text, parse_mode="HTML")) == CANNOT + words


@pytest.mark.parametrize(("text", "plain", "entities"), HTML)
def test_html_becomes_entities(ask: Ask, text: str, plain: str, entities: list[Any]) -> None:
    message = result(ask("sendMessage", chat_id=1, text=text, parse_mode="html"))
    assert (message["text"], shown(message)) == (plain, entities)


def test_legacy_markdown_names_the_place_of_an_unended_entity(ask: Ask) -> None:
    refused = ask("sendMessage", chat_id=1, text="a *unclosed", parse_mode="markdown")
    assert why(refused) == CANNOT + "Can't find end of the entity starting at byte offset 2"


def test_legacy_markdown_becomes_entities(ask: Ask) -> None:
    message = result(ask("sendMessage", chat_id=1, text="*a* _b_ `c` [d](t.me/d) \\*", parse_mode="Markdown"))
    assert message["text"] == "a b c d *"
    assert shown(message) == [("bold", 0, 1), ("italic", 2, 1), ("code", 4, 1), ("text_link", 6, 1)]


def test_an_unknown_parse_mode_is_refused(ask: Ask) -> None:
    assert why(ask("sendMessage", chat_id=1, text="x", parse_mode="XML")) == "Bad Request: unsupported parse_mode"


def test_text_may_have_4096_utf16_units_after_parsing(ask: Ask) -> None:
    assert ask("sendMessage", chat_id=1, text="🏟" * 2048).status == 200
    assert ask("sendMessage", chat_id=1, text="<b>" + "x" * 4096 + "</b>", parse_mode="HTML").status == 200
    assert why(ask("sendMessage", chat_id=1, text="🏟" * 2048 + "x")) == "Bad Request: message is too long"


def test_a_caption_may_have_1024_utf16_units(ask: Ask) -> None:
    photo = {"files": {"photo": b"x"}}
    assert ask("sendPhoto", chat_id=1, caption="я" * 1024, **photo).status == 200
    refused = ask("sendPhoto", chat_id=1, caption="я" * 1025, **photo)
    assert why(refused) == "Bad Request: message caption is too long"


@pytest.mark.parametrize(("text", "words"), [("", "message text is empty"), (" \n ", "text must be non-empty")])
def test_an_empty_text_is_refused(ask: Ask, text: str, words: str) -> None:
    assert why(ask("sendMessage", chat_id=1, text=text)) == f"Bad Request: {words}"


def test_markup_is_parsed_before_the_chat_is_looked_at(world: World, ask: Ask) -> None:
    world.open_doors = False
    assert why(ask("sendMessage", chat_id=9, text="a.", parse_mode="MarkdownV2")).startswith(CANNOT)
    assert why(ask("sendMessage", chat_id=9, text="a.")) == "Bad Request: chat not found"


def test_entities_may_be_given_as_a_list_or_as_a_string_of_json(ask: Ask) -> None:
    for given in ([{"type": "bold", "offset": 2, "length": 2}], '[{"type": "bold", "offset": 2, "length": 2}]'):
        assert shown(result(ask("sendMessage", chat_id=1, text=" a b ", entities=given))) == [("bold", 1, 2)]


def test_entities_beyond_the_text_are_refused(ask: Ask) -> None:
    refused = ask("sendMessage", chat_id=1, text="ab", entities=[{"type": "bold", "offset": 1, "length": 2}])
    assert "ends after the end of the text at UTF-16 offset 2" in why(refused)
