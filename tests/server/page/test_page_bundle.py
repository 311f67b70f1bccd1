"""The page as one text: what may stand in its modules, its size, and that it is always the same."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.server.page import bundle

ROOT = Path(__file__).parent.parent.parent.parent / "server" / "page"
OURS = sorted(p for p in ROOT.glob("*.js") if p.name != "preact.js")
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|dangerouslySetInnerHTML|insertAdjacentHTML|document\.write|\beval\b"
    r"|new Function|javascript:|\bon[a-z]+=[\"']|srcdoc|<a\b|href="
)
MOST_BYTES = 200_000


@pytest.mark.requirement("page-is-text")
@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_no_module_can_make_markup_of_a_text(path: Path) -> None:
    assert FORBIDDEN.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


def test_the_page_is_small_and_the_same_each_time() -> None:
    first, again = bundle.html("chat"), bundle.html("chat")
    assert first == again
    assert len(first.encode()) < MOST_BYTES
    assert bundle.address().startswith("ui://textgrad/page-")


def test_nothing_is_loaded_from_anywhere() -> None:
    text = bundle.html("viewer")
    outside = [url for url in re.findall(r"https?://[^\s\"'`)]+", text) if "w3.org" not in url]
    assert outside == []
    assert "@import" not in text
    assert "url(" not in text


def test_the_vendored_file_is_the_one_that_was_looked_at() -> None:
    named = (ROOT / "VENDORED.md").read_text(encoding="utf-8")
    assert hashlib.sha256((ROOT / "preact.js").read_bytes()).hexdigest() in named


def test_only_the_known_forms_of_import_and_export_are_joined() -> None:
    for wrong in ('import x from "./y.js";\n', "export default 1;\n", 'export * from "./y.js";\n'):
        with pytest.raises(ValueError, match=r"no import or export that is known"):
            bundle.wrapped("x.js", wrong)
    with pytest.raises(ValueError, match="would end the element"):
        bundle.wrapped("x.js", 'const a = "</script>";\n')


@pytest.mark.requirement("page-is-text")
@given(st.recursive(st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=5))
def test_data_can_neither_end_its_element_nor_begin_a_comment(data: object) -> None:
    text = bundle.escaped(data)
    assert "<" not in text
    assert json.loads(text) == data


def test_a_title_is_no_markup() -> None:
    assert "<title>&lt;/title>&lt;b></title>" in bundle.html("file", "</title><b>", {})


def test_a_file_says_by_itself_what_it_may_do() -> None:
    assert "script-src 'sha256-" in bundle.html("file", "t", {})
    assert "Content-Security-Policy" not in bundle.html("chat")
