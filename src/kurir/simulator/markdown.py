"""MarkdownV2 and the legacy Markdown. Rules and words of the errors:
core.telegram.org/bots/api#markdownv2-style and td `parse_markdown_v2`, `parse_markdown`."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ApiError
from .markup import Entity, Out, byte_offset, emoji_id, unparsable

RESERVED = frozenset("_*[]()~`>#+-=|{}.!\n")
SPACE = " \t\r\n\0\v"
NAMES = {
    "bold": "Bold", "italic": "Italic", "underline": "Underline", "strikethrough": "Strikethrough",
    "spoiler": "Spoiler", "code": "Code", "pre": "Pre", "precode": "PreCode", "text_link": "TextUrl",
    "custom_emoji": "CustomEmoji", "blockquote": "BlockQuote",
}  # fmt: skip
ENDS = {
    "bold": "*", "underline": "__", "strikethrough": "~", "spoiler": "||", "code": "`", "pre": "```",
    "precode": "```", "text_link": "]", "custom_emoji": "]",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Open:
    kind: str
    place: int  # index into the source
    offset: int  # UTF-16 units
    piece: int  # index into Out.parts
    language: str = ""


def parse_markdown_v2(source: str) -> tuple[str, list[Entity]]:
    """The text and its entities. Raises ApiError (400)."""
    return _MarkdownV2(source.replace("\r", "")).parse()


class _MarkdownV2:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.out = Out()
        self.open: list[_Open] = []
        self.quoting = False
        self.fresh = True  # nothing was written on this line yet: '>' may begin a quotation

    def parse(self) -> tuple[str, list[Entity]]:
        while self.at < len(self.source):
            self._step()
        if self.quoting:
            expandable = self._expandable()
            if self.open[-1].kind == "blockquote":
                self._end_quote(expandable)
        if self.open:
            raise self._unended()
        return self.out.done()

    def _step(self) -> None:
        char, after = self.source[self.at], self.source[self.at + 1 : self.at + 2]
        if char == "\\" and after and 0 < ord(after) <= 126:
            self._write(after, 2)
        elif char not in (RESERVED if not self._in_code() else "`"):
            self._write(char, 1)
        elif char == "\n" and self.quoting and after != ">":
            expandable = self._expandable()
            if self.open[-1].kind != "blockquote":
                raise self._unended()
            self._write("\n", 1)
            self._end_quote(expandable)
            self.fresh = True
        elif self.open and self._ends(self.open[-1].kind):
            self._close()
        else:
            self._begin(char)

    def _write(self, piece: str, consumed: int) -> None:
        self.out.add(piece)
        self.at += consumed
        self.fresh = False

    def _in_code(self) -> bool:
        return bool(self.open) and self.open[-1].kind in ("code", "pre", "precode")

    def _ends(self, kind: str) -> bool:
        if kind == "italic":
            return self._here("_") and not self._here("__")
        return kind in ENDS and self._here(ENDS[kind])

    def _here(self, piece: str) -> bool:
        return self.source.startswith(piece, self.at)

    def _begin(self, char: str) -> None:
        if char == "\n":
            self._write("\n", 1)
            self.fresh = True
            if self.quoting:  # the next line is quoted too
                self.at += 1
            return
        if char == ">" and self.fresh and not self.quoting:
            self.quoting = True
            self._push("blockquote", 1)
            return
        for mark, kind in (
            ("```", "pre"),
            ("`", "code"),
            ("__", "underline"),
            ("_", "italic"),
            ("*", "bold"),
            ("~", "strikethrough"),
            ("||", "spoiler"),
            ("![", "custom_emoji"),
            ("[", "text_link"),
        ):
            if self._here(mark):
                if kind == "pre":
                    self._begin_pre()
                else:
                    self._push(kind, len(mark))
                return
        raise unparsable(f"Character '{char}' is reserved and must be escaped with the preceding '\\'")

    def _push(self, kind: str, consumed: int, language: str = "") -> None:
        self.open.append(_Open(kind, self.at, self.out.offset, len(self.out.parts), language))
        self.at += consumed

    def _begin_pre(self) -> None:
        language, start = _language(self.source, self.at + 3)
        self._push("precode" if language else "pre", start - self.at, language)

    def _close(self) -> None:
        opened = self.open.pop()
        kind = opened.kind
        self.at += len(ENDS.get(kind, "_"))
        if kind == "text_link":
            url = self._address("a URL") if self._here("(") else self.out.since(opened.piece)
            self.out.link(url, opened.offset)
        elif kind == "custom_emoji":
            if not self._here("("):
                raise unparsable("Custom emoji entity must contain a tg://emoji URL")
            identifier = emoji_id(self._address("a custom emoji URL"))
            self.out.mark(kind, opened.offset, custom_emoji_id=identifier)
        elif kind == "precode":
            self.out.mark("pre", opened.offset, language=opened.language)
        else:
            self.out.mark(kind, opened.offset)

    def _address(self, what: str) -> str:
        """The text in the parentheses that begin here."""
        pieces: list[str] = []
        index = begin = self.at + 1
        while index < len(self.source) and self.source[index] != ")":
            if self.source[index] == "\\" and 0 < ord(self.source[index + 1 : index + 2] or "\0") <= 126:
                index += 1
            pieces.append(self.source[index])
            index += 1
        if index >= len(self.source):
            raise unparsable(f"Can't find end of {what} at byte offset {byte_offset(self.source, begin)}")
        self.at = index + 1
        return "".join(pieces)

    def _expandable(self) -> bool:
        """A quotation that ends with an empty, unended spoiler is expandable; the spoiler goes."""
        if len(self.open) < 2 or self.open[-1].kind != "spoiler" or self.open[-2].kind != "blockquote":
            return False
        if self.open[-1].offset != self.out.offset:
            return False
        self.open.pop()
        return True

    def _end_quote(self, expandable: bool) -> None:
        opened = self.open.pop()
        self.out.mark("expandable_blockquote" if expandable else "blockquote", opened.offset)
        self.quoting = False

    def _unended(self) -> ApiError:
        last = self.open[-1]
        place = byte_offset(self.source, last.place)
        return unparsable(f"Can't find end of {NAMES[last.kind]} entity at byte offset {place}")


def _language(source: str, start: int) -> tuple[str, int]:
    """The language named after ``` and where the text begins."""
    end = start
    while end < len(source) and source[end] not in SPACE and source[end] != "`":
        end += 1
    language = ""
    if start != end and end < len(source) and source[end] != "`":
        language, start = source[start:end], end
    if source.startswith(("\n\r", "\r\n"), start):
        return language, start + 2
    if source.startswith(("\n", "\r"), start):
        return language, start + 1
    return language, start


def parse_markdown(source: str) -> tuple[str, list[Entity]]:
    """Legacy Markdown: no nesting, `\\` escapes only `_`, `*`, backquote and `[`. Raises ApiError (400)."""
    out, at = Out(), 0
    while at < len(source):
        char = source[at]
        if char == "\\" and source[at + 1 : at + 2] in ("_", "*", "`", "["):
            out.add(source[at + 1])
            at += 2
        elif char in "_*`[":
            at = _legacy_entity(source, at, out)
        else:
            out.add(char)
            at += 1
    return out.done()


def _legacy_entity(source: str, begin: int, out: Out) -> int:
    char, start, language = source[begin], begin + 1, ""
    end_mark = "]" if char == "[" else char
    if source.startswith("```", begin):
        end_mark = "```"
        language, start = _language(source, begin + 3)
    end = source.find(end_mark, start)
    if end < 0:
        place = byte_offset(source, begin)
        raise unparsable(f"Can't find end of the entity starting at byte offset {place}")
    offset = out.offset
    out.add(source[start:end])
    after = end + len(end_mark)
    if char == "[":
        url = source[start:end]
        if source.startswith("(", after):
            close = source.find(")", after)
            close = len(source) if close < 0 else close
            url, after = source[after + 1 : close], close + 1
        out.link(url, offset)
    elif end_mark == "```":
        out.mark("pre", offset, **({"language": language} if language else {}))
    else:
        out.mark({"_": "italic", "*": "bold", "`": "code"}[char], offset)
    return after
