"""The documentation page: one HTML file made of the OpenAPI document, with nothing fetched from anywhere."""

from __future__ import annotations

import html
import re
from typing import Any

import orjson

from .describe import Json
from .problems import INTERNAL, KINDS

_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")

STYLE = """
:root{--bg:#fff;--fg:#1b2330;--dim:#5d6878;--line:#e3e7ee;--soft:#f6f8fb;--accent:#1769c2;--code:#f1f4f9;
--get:#1769c2;--post:#1a7f4b;--delete:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#12161d;--fg:#e4e9f1;--dim:#97a3b6;--line:#283142;--soft:#181e28;
--accent:#6db1ff;--code:#1d2531;--get:#6db1ff;--post:#5fd39a;--delete:#ff8a80}}
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:1rem}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
display:grid;grid-template-columns:17rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.5rem 1rem;border-right:1px solid var(--line);
background:var(--soft);font-size:.875rem}
nav h2{font-size:.72rem;letter-spacing:.07em;text-transform:uppercase;color:var(--dim);margin:1.3rem 0 .35rem}
nav a{display:flex;gap:.5rem;color:inherit;text-decoration:none;padding:.18rem .3rem;border-radius:5px;align-items:baseline}
nav a:hover,nav a:focus-visible{background:var(--line)}nav b{font-size:1.1rem}
main{padding:2.2rem clamp(1rem,4vw,3.5rem);max-width:62rem}
h1{margin:0 0 .4rem;font-size:2rem}h2{margin:2.8rem 0 .6rem;font-size:1.35rem;border-bottom:1px solid var(--line);
padding-bottom:.35rem}h3{margin:0;font-size:1rem;font-weight:600}
a{color:var(--accent)}p{margin:.5rem 0}.dim{color:var(--dim)}
code,pre{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{background:var(--code);padding:.08em .32em;border-radius:4px;overflow-wrap:anywhere}
pre{background:var(--code);padding:.8rem 1rem;border-radius:8px;overflow:auto;margin:.5rem 0;max-height:24rem}
pre code{padding:0;background:none}
article{border:1px solid var(--line);border-radius:10px;margin:1rem 0;padding:1rem 1.2rem}
.head{display:flex;flex-wrap:wrap;gap:.6rem;align-items:baseline}
.verb{font:700 .72rem/1 ui-monospace,monospace;letter-spacing:.03em;padding:.28rem .42rem;border-radius:5px;
border:1px solid currentColor}
nav .verb{border:0;padding:0;font-size:.62rem;min-width:2.6rem}
.get{color:var(--get)}.post{color:var(--post)}.delete{color:var(--delete)}
.role{font-size:.75rem;color:var(--dim);border:1px solid var(--line);border-radius:99px;padding:.05rem .55rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;margin:.5rem 0}
th{text-align:left;color:var(--dim);font-weight:600}td,th{border-bottom:1px solid var(--line);padding:.35rem .6rem .35rem 0;
vertical-align:top}td p{margin:0}td:first-child{white-space:nowrap}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--dim);font-size:.9rem}
@media (max-width:52rem){body{display:block}
nav{position:static;height:auto;border-right:0;border-bottom:1px solid var(--line)}}
"""


def page(document: Json) -> bytes:
    """The whole page."""
    info = document["info"]
    by_tag: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            by_tag[operation["tags"][0]].append((verb.upper(), path, operation))
    words = {tag["name"]: tag["description"] for tag in document["tags"]}
    menu = "".join(f"<h2>{_e(tag)}</h2>{''.join(_entry(*one) for one in ops)}" for tag, ops in by_tag.items())
    sections = "".join(
        f'<section><h2>{_e(tag)}</h2><p class="dim">{_e(words[tag])}</p>{"".join(_operation(*one) for one in ops)}</section>'
        for tag, ops in by_tag.items()
    )
    shapes = "".join(_shape(name, schema) for name, schema in document["components"]["schemas"].items())
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f'initial-scale=1"><title>{_e(info["title"])} REST API</title><style>{STYLE}</style></head><body>'
        f'<nav aria-label="Operations"><b>{_e(info["title"])}</b> <span class="dim">{_e(info["version"])}</span>{menu}'
        '<h2>More</h2><a href="#problems">Errors</a><a href="#shapes">Shapes</a><a href="openapi.json">OpenAPI 3.1</a></nav>'
        f"<main><h1>{_e(info['title'])} REST API</h1>{_prose(info['description'])}{_start()}{sections}"
        f'<h2 id="problems">Errors</h2>{_errors()}<h2 id="shapes">Shapes</h2>{shapes}</main></body></html>'
    )
    return text.encode()


def _e(text: object) -> str:
    return html.escape(str(text))


def _prose(text: str) -> str:
    """Paragraphs, with `code` and **bold**."""
    marked = _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", _e(text)))
    return "".join(f"<p>{'<br>'.join(_lines(part))}</p>" for part in marked.split("\n\n"))


def _lines(text: str) -> list[str]:
    """A line that begins in bold stays a line; the others are joined."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and not line.startswith("<strong>"):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return lines


def _json(value: Any) -> str:
    if isinstance(value, str):
        return f"<pre><code>{_e(value)}</code></pre>"
    return f"<pre><code>{_e(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</code></pre>"


def _verb(verb: str) -> str:
    return f'<span class="verb {verb.lower()}">{verb}</span>'


def _entry(verb: str, path: str, operation: Json) -> str:
    return f'<a href="#{operation["operationId"]}">{_verb(verb)}<span>{_e(path.removeprefix("/v1"))}</span></a>'


def _start() -> str:
    return _json(
        "curl http://127.0.0.1:8080/v1/messages \\\n"
        '  -H "Authorization: Bearer $KURIR_API_KEY" -H "Content-Type: application/json" \\\n'
        """  -d '{"method": "sendMessage", "params": {"chat_id": 42, "text": "Hello"}}'"""
    )


def _operation(verb: str, path: str, operation: Json) -> str:
    roles = "".join(f'<span class="role">{_e(role)}</span>' for role in operation.get("x-roles", ["no key"]))
    words = operation["description"].split("\n\nRoles:")[0]
    parts = [
        f'<article id="{operation["operationId"]}"><div class="head">{_verb(verb)}<code>{_e(path)}</code>'
        f"<h3>{_e(operation['summary'])}</h3>{roles}</div>{_prose(words)}",
        _parameters(operation.get("parameters", [])),
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        for example in content.get("examples", {}).values():
            parts.append(f'<p class="dim">{_e(media)}: {_e(example["summary"])}</p>{_json(example["value"])}')
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            example = _json(content["example"]) if "example" in content else ""
            parts.append(f"<details><summary>{status}: {_e(response['description'])}</summary>{example}</details>")
    errors = [status for status, response in operation["responses"].items() if "$ref" in response]
    if errors:
        parts.append(f'<p class="dim">Errors: <a href="#problems">{", ".join(errors)}</a></p>')
    return "".join(parts) + "</article>"


def _parameters(parameters: list[Json]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{_e(one['name'])}</code></td><td>{_e(one['in'])}</td><td>{_prose(one['description'])}</td></tr>"
        for one in parameters
    )
    return f'<div class="wide"><table><tr><th>parameter</th><th>in</th><th></th></tr>{rows}</table></div>'


def _shape(name: str, schema: Json) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{_e(field)}</code>{'' if field in required else ' <span class=dim>may be absent</span>'}</td>"
        f"<td>{_e(_type(one))}</td><td>{_prose(one.get('description', ''))}</td></tr>"
        for field, one in schema["properties"].items()
    )
    return f'<h3 id="{_e(name)}">{_e(name)}</h3><div class="wide"><table>{rows}</table></div>'


def _type(schema: Json) -> str:
    """A type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return " | ".join("null" if value is None else str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _errors() -> str:
    kinds = [kind for _, kind in KINDS] + [INTERNAL]
    rows = "".join(
        f'<tr id="{kind.name}"><td>{kind.status}</td><td><code>{kind.name}</code></td><td>{_e(kind.title)}</td></tr>'
        for kind in sorted(kinds, key=lambda kind: kind.status)
    )
    return (
        "<p>Every error is <code>application/problem+json</code>: <code>type</code>, <code>title</code>,"
        " <code>status</code>, <code>detail</code> (what happened), <code>field</code> (where one is wrong) and"
        " <code>remedy</code> (what to do now)."
        f'</p><div class="wide"><table><tr><th>status</th><th>type</th><th></th></tr>{rows}</table></div>'
    )
