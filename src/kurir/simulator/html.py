"""Telegram's HTML. Rules and words of errors: core.telegram.org/bots/api#html-style and td `parse_html`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .markup import Entity, Out, byte_offset, checked_emoji, unparsable

KINDS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "tg-spoiler": "spoiler",
    "span": "spoiler", "pre": "pre", "code": "code", "a": "text_link", "tg-emoji": "custom_emoji",
    "blockquote": "blockquote",
}  # fmt: skip

SPACE = " \t\r\n\0\v"
NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|([a-zA-Z]+));?")
_TAG_END = re.compile(r"[ \t\r\n\0\v>]")
_NAME = re.compile(r"[^ \t\r\n\0\v=>]*")
_TOKEN = re.compile(r"[a-zA-Z0-9.\-]*")


@dataclass(frozen=True, slots=True)
class _Open:
    tag: str
    argument: str
    offset: int  # UTF-16 units
    piece: int  # index into Out.parts


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """The text and its entities. Raises ApiError (400)."""
    if "<" not in source and "&" not in source:
        return source, []
    return _Html(source).parse()


class _Html:
    def __init__(self, source: str) -> None:
        self.source = source
        self.out = Out()
        self.open: list[_Open] = []

    def parse(self) -> tuple[str, list[Entity]]:
        source, index = self.source, 0
        while index < len(source):
            char = source[index]
            if char == "<":
                ending = source.startswith("</", index)
                index = self._end(index) if ending else self._start(index)
            elif char == "&":
                piece, index = self._reference(index)
                self.out.add(piece)
            else:
                stop = _next_of(source, index)
                self.out.add(source[index:stop])
                index = stop
        if self.open:
            raise unparsable(f'Can\'t find end tag corresponding to start tag "{self.open[-1].tag}"')
        return self.out.done()

    def _reference(self, index: int) -> tuple[str, int]:
        found = _REFERENCE.match(self.source, index)
        if not found:
            return "&", index + 1
        if found[3]:
            char = NAMED.get(found[3])
        else:
            code = int(found[1], 16) if found[1] else int(found[2])
            digits = len(found[0].rstrip(";"))
            valid = 0 < code < 0x10FFFF and digits < 10 and not 0xD800 <= code <= 0xDFFF
            char = chr(code) if valid else None
        return (char, found.end()) if char else ("&", index + 1)

    def _start(self, begin: int) -> int:
        end = _TAG_END.search(self.source, begin + 1)
        if not end:
            raise self._wrong("Unclosed start tag", begin)
        tag = self.source[begin + 1 : end.start()].lower()
        if tag not in KINDS:
            raise self._wrong(f'Unsupported start tag "{tag}"', begin)
        argument, index = self._attributes(tag, begin, end.start())
        if tag == "span" and argument != "spoiler":
            raise self._wrong('Tag "span" must have class "tg-spoiler"', begin)
        self.open.append(_Open(tag, argument, self.out.offset, len(self.out.parts)))
        return index

    def _attributes(self, tag: str, begin: int, index: int) -> tuple[str, int]:
        """The argument that matters to the tag, and the place after its '>'."""
        source, argument = self.source, ""
        while True:
            index = self._skip(index)
            if source[index : index + 1] == ">":
                return argument, index + 1
            name = _NAME.match(source, index)
            assert name is not None
            if not name[0]:
                if name.end() >= len(source):
                    raise self._wrong("Unclosed start tag", begin)
                raise self._wrong(f'Empty attribute name in the tag "{tag}"', begin)
            index = self._skip(name.end())
            if source[index : index + 1] != "=":
                if tag == "blockquote" and name[0].lower() == "expandable" and index < len(source):
                    argument = "expandable"
                    continue
                raise self._wrong(f'Expected equal sign in declaration of an attribute of the tag "{tag}"', begin)
            index = self._skip(index + 1)
            if index >= len(source):
                raise self._wrong(f'Unclosed start tag "{tag}"', begin)
            value, index = self._value(index)
            if index >= len(source):
                raise self._wrong("Unclosed start tag", begin)
            argument = _argument(tag, name[0], value) or argument

    def _value(self, index: int) -> tuple[str, int]:
        quote = self.source[index]
        if quote not in "'\"":
            token = _TOKEN.match(self.source, index)
            assert token is not None
            after = self.source[token.end() : token.end() + 1]
            if after and after not in SPACE and after != ">":
                raise self._wrong("Unexpected end of name token", index)
            return token[0].lower(), token.end()
        pieces: list[str] = []
        index += 1
        while index < len(self.source) and self.source[index] != quote:
            if self.source[index] == "&":
                piece, index = self._reference(index)
            else:
                piece, index = self.source[index], index + 1
            pieces.append(piece)
        return "".join(pieces), index + 1

    def _end(self, begin: int) -> int:
        if not self.open:
            raise self._wrong("Unexpected end tag", begin)
        end = _TAG_END.search(self.source, begin + 2)
        index = self._skip(end.start()) if end else len(self.source)
        if self.source[index : index + 1] != ">":
            raise self._wrong("Unclosed end tag", begin)
        assert end is not None
        tag, opened = self.source[begin + 2 : end.start()].lower(), self.open.pop()
        if tag and tag != opened.tag:
            words = f"Unmatched end tag at byte offset {byte_offset(self.source, begin)}"
            raise unparsable(f'{words}, expected "</{opened.tag}>", found "</{tag}>"')
        self._close(opened)
        return index + 1

    def _close(self, opened: _Open) -> None:
        kind, out = KINDS[opened.tag], self.out
        if opened.tag == "a":
            out.link(opened.argument or out.since(opened.piece), opened.offset)
        elif opened.tag == "tg-emoji":
            out.mark(kind, opened.offset, custom_emoji_id=checked_emoji(opened.argument))
        elif opened.tag == "blockquote" and opened.argument:
            out.mark("expandable_blockquote", opened.offset)
        elif opened.tag == "pre" and self._languaged_code(opened.offset):
            out.entities[-1]["type"] = "pre"
        elif opened.tag == "code" and opened.argument:
            out.mark(kind, opened.offset, language=opened.argument)
        else:
            out.mark(kind, opened.offset)
        if not self.open or self.open[-1].tag != "pre":
            for entity in out.entities[-1:]:
                if entity["type"] == "code":
                    entity.pop("language", None)

    def _languaged_code(self, offset: int) -> bool:
        """The last entity is <code class="language-x"> over the very same text."""
        if not self.out.entities:
            return False
        last = self.out.entities[-1]
        same = last["offset"] == offset and last["length"] == self.out.offset - offset
        return bool(last["type"] == "code" and same and last.get("language"))

    def _skip(self, index: int) -> int:
        while index < len(self.source) and self.source[index] in SPACE:
            index += 1
        return index

    def _wrong(self, words: str, index: int) -> Exception:
        return unparsable(f"{words} at byte offset {byte_offset(self.source, index)}")


def _next_of(source: str, index: int) -> int:
    """The place of the next '<' or '&'."""
    places = [place for place in (source.find("<", index), source.find("&", index)) if place >= 0]
    return min(places, default=len(source))


def _argument(tag: str, name: str, value: str) -> str:
    if tag == "a" and name == "href":
        return value
    if tag == "code" and name == "class" and value.startswith("language-"):
        return value[9:]
    if tag == "span" and name == "class" and value.startswith("tg-"):
        return value[3:]
    if tag == "tg-emoji" and name == "emoji-id":
        return value
    return ""
