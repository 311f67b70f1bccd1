"""What a model wrote is text and nothing else: in Markdown, in drawings and on a terminal."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.graph import Kind, Variable
from textgrad_mcp.server.markdown import block, inline, paragraph
from textgrad_mcp.server.mermaid import flowchart
from textgrad_mcp.server.output import failed, told
from textgrad_mcp.server.paint import Paint, cleaned, escaped, styled

from .helpers import Facts, Tools, answered, assisted, drive

PAGE = MarkdownIt("commonmark", {"html": True, "linkify": True}).enable(
    ["table", "strikethrough", "linkify"]
)
LIVE = re.compile(r"<(?!/?p>|br>)[a-z!]|&(?!lt;|gt;|amp;|quot;)")
PARTS = [
    *(
        "![x](http://evil.example/x.png)",
        "<img src=http://e.x>",
        "[c](http://e.x)",
        "[a]: http://e.x",
    ),
    *("1. one", "12) two", "# head", "- list", "* x", "+ x", "===", "---", "> quote", "| a | b |"),
    *(
        "_em_",
        "**x**",
        "~~x~~",
        "`code`",
        "```",
        "<!-- x -->",
        "<http://e.x>",
        "<a@b.c>",
        "&lt;b&gt;",
    ),
    *(
        "www.evil.com",
        "WWW.E.COM",
        "a@b.com",
        "evil.co.uk/path",
        "//e.com",
        "https://x.y",
        "\\",
        "!",
    ),
    *(
        "javascript:alert(1)",
        "\n",
        "\r",
        "\t",
        "    ",
        "\u2028",
        "\x1b[31m",
        "\x9b2J",
        "\u202e",
        "a_b",
    ),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=6)), max_size=6).map("".join)
ESCAPES = ["\x1b[2J", "\x9b2J", "\x1b]0;owned\x07", "\u202eevil", "\r", "\x08\x08", "\x1b[8m"]


@pytest.mark.requirement("plain-reports")
@settings(max_examples=400, deadline=None, database=None)
@given(TEXTS)
def test_a_text_in_a_line_is_drawn_as_text(text: str) -> None:
    for page in (inline(text), f"# {inline(text)}", f"- x {inline(text)}"):
        assert "\n" not in page
        drawn = re.sub(r"^<(h1|ul)>(\n<li>)?|(</li>\n)?</(h1|ul)>\n$", "", PAGE.render(page))
        assert LIVE.search(drawn) is None, (page, drawn)
    table = f"| a | b |\n|---|---|\n| {inline(text)} | c |\n"
    assert PAGE.render(table).count("<td>") == 2


@pytest.mark.requirement("plain-reports")
@settings(max_examples=400, deadline=None, database=None)
@given(TEXTS)
def test_a_text_in_a_block_stays_in_it(text: str) -> None:
    for lines in (block(text), paragraph(text)):
        drawn = PAGE.render("\n".join(["before", "", *lines, "", "after"]))
        inner = re.sub(r"<pre><code>.*?</code></pre>\n", "", drawn, flags=re.DOTALL)
        assert inner == "<p>before</p>\n<p>after</p>\n"
    drawn = PAGE.render("\n".join(["- one", "", *block(text, indent=2), "", "- two"]))
    assert drawn.count("<li>") == 2
    assert not re.search("<a |<img|<h1", drawn)


@pytest.mark.requirement("plain-reports")
def test_what_is_harmless_reads_as_it_was() -> None:
    for text in (
        "validation 0.30 -> 0.80 on 20 examples (p = 0.001)",
        "exact_match",
        "a & b, 50 %!",
    ):
        assert inline(text) == text
    assert PAGE.render(inline("Say *why*, in [brackets] and <tags>.")) == (
        "<p>Say *why*, in [brackets] and &lt;tags&gt;.</p>\n"
    )


@pytest.mark.requirement("plain-reports")
def test_a_report_shows_pictures_links_and_headings_of_a_model_as_text(tmp_path: Path) -> None:
    evil = (
        "![x](http://evil.example/x.png) <img src=http://evil.example/y.png> [c](http://e.example)"
    )

    def said(pending: Facts) -> Any:
        if '"value"' in pending["prompt"]:
            return {"value": f"# Better\n{evil}"}
        return {"feedback": f"# 100 % better\n\n{evil}\n```", "score": 0.1}

    async def main(call: Tools) -> None:
        role = f"prompt\n\n# 100 % better\n\n{evil}"
        s = (await call("create_variable", role=role, value="text one"))["session_id"]
        asked = await call(
            "compute_loss", session_id=s, kind="judge", inputs={"output": "v1"}, instruction=evil
        )
        await answered(call, asked, said)
        await answered(call, await call("backward", session_id=s), said)
        await answered(call, await call("step", session_id=s), said)
        shown = (await call.client.read_resource(f"textgrad://sessions/{s}/report")).contents[0]
        page = str(getattr(shown, "text", ""))
        drawn = PAGE.render(page)
        assert not re.search(r"<a\s|<img|<h1>[^<]*better", drawn)
        assert drawn.count("<h1>") == 1
        assert "![x](http://evil.example/x.png)" in page  # it can still be read, as code
        listed = (await call.client.list_resources()).resources
        assert not any("\n" in (one.title or "") for one in listed)

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("plain-reports")
@settings(max_examples=100, deadline=None, database=None)
@given(TEXTS)
def test_a_label_in_a_drawing_is_plain(text: str) -> None:
    drawn = flowchart([Variable(id="v1", kind=Kind.CONSTANT, role=text or "x")], [])
    label = re.search(r'v1\["(.*)"\]', drawn)
    assert label is not None, drawn
    assert re.fullmatch(r"(#\d+;|[\w ,…-])*", label[1]), label[1]


@pytest.mark.requirement("plain-reports")
@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_that_drives_a_terminal_is_printed(
    escape: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = f"a{escape}b"
    facts = {"text": text, text: [text]}
    for as_json in (True, False):
        told(argparse.Namespace(json=as_json), facts, Paint()("ours", "red") + text)
        failed(BadInput(text, text), as_json=as_json)
    printed = capsys.readouterr()
    assert json.loads(printed.out.rpartition("}")[0] + "}") == facts
    plain = (printed.out + printed.err).replace("\x1b[31m", "").replace("\x1b[0m", "")
    plain = plain.replace("\x1b[31;1m", "")
    assert not [mark for mark in plain if not mark.isprintable() and mark != "\n"]
    assert "\x1b[31mours\x1b[0m" in printed.out


@pytest.mark.requirement("plain-reports")
@settings(max_examples=200, deadline=None, database=None)
@given(st.text(st.characters(), max_size=30))
def test_a_document_with_everything_spelt_out_says_the_same(text: str) -> None:
    assert json.loads(escaped(json.dumps(text, ensure_ascii=False))) == text
    assert styled(text).count("\x1b") == len(re.findall("\x1b\\[[0-9;]*m", styled(text)))
    assert "\x1b" not in cleaned({text: [text, {"a": text}]}).__repr__()
