"""A task model without weights: it does what its system prompt says in words, and nothing else.

    python benchmarks/obedient.py --port 8099 [--slips 0.05]

It serves an OpenAI-compatible endpoint for the tasks `recipe`, `orders` and `redact`, and tells
them apart by the input. Each rule of a task is heeded where the prompt states it, in a sentence or
by a worked example; of two prompts with the same rules the shorter does as well. With `--slips`,
each rule is forgotten on that share of the inputs, always on the same ones under the same prompt.
A run of 240 calls takes seconds, so that what is compared is what a system asks its critic, and
what it measures; how a real model takes a prompt it cannot tell.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable

from aiohttp import web

Heeds = Callable[[str, str], bool]
"""Whether a rule, by its name, is heeded where the prompt matches a pattern."""
UNITS = {"cup": "c", "tablespoon": "tb", "teaspoon": "ts", "ounce": "oz", "pound": "lb"}
AMOUNTS = {"1/2": "0.5", "1/4": "0.25", "3/4": "0.75", "1 1/2": "1.5", "2 1/2": "2.5"}
ITEMS = {
    "printer paper": "PAP",
    "toner": "TON",
    "desk lamp": "LMP",
    "office chair": "CHR",
    "notebook": "NBK",
    "stapler": "STP",
}
NUMBERS = dict(
    zip("two three four five six eight ten".split(), (2, 3, 4, 5, 6, 8, 10), strict=True)
)
MONTHS = "January February March April May June July August September October November December"
RECIPE = re.compile(r"(?P<much>[\d/ ]+?) (?P<unit>[a-z]+?)s? of (?P<food>\w+)(?:, (?P<how>\w+))?")
ORDER = re.compile(
    r"(?P<first>\w+) (?P<last>\w+) needs (?P<much>a dozen|\w+) (?P<item>[\w ]+?)s by "
    r"(?P<day>\d+) (?P<month>\w+) (?P<year>\d+), (?P<when>.+)\."
)
PRIVATE = {
    "<P>": (r"\b[A-Z][a-z]+ [A-Z][a-z]+\b", r"name|person|people"),
    "<ACCT>": (r"\bDE\d\d \d{4} \d{4} \d\d\b", r"account|iban"),
    "<MAIL>": (r"[\w.]+@[\w.]+\w", r"mail"),
    "<TEL>": (r"\+\d+ \d+ \d+", r"phone|tel\b|number"),
}
CAPITALS = r"(?i)upper.?case|capital|all.?caps"


def recipe(found: re.Match[str], heeds: Heeds) -> str:
    """An ingredient, as far as the rules are told; unchanged where its form is not."""
    much, unit, food, how = found["much"], found["unit"], found["food"], found["how"]
    if not heeds("form", r"\|"):
        return found[0]
    if heeds("capitals", CAPITALS + r"|(?<![A-Z|])(?!NAME|ITEM|FOOD|ING)[A-Z]{3,}\|"):
        food = food.upper()
    amount = AMOUNTS.get(much, much)
    told = r"(?i)decimal|" + re.escape(amount)
    amount = amount if heeds("decimal", told) else much
    code = UNITS.get(unit, unit)
    told = rf"(?i)\b{unit}s?\b\W{{1,6}}(?:is |becomes |to |as |means )?\W{{0,3}}\b{code}\b"
    code = code if heeds(unit, rf"{told}|\|\s*{code}\s*\|") else unit
    told = (
        r"(?i)\|\s*-|(?:no|none|missing|absent|empty|without|otherwise|else)\b.{0,60}[-`\"']-|dash"
    )
    told += r"|-[`\"' ]+(?:if|when|where)|hyphen"
    none = "-" if heeds("none", told) else ""
    return f"{food}|{amount}|{code}|{how or none}"


def order(found: re.Match[str], heeds: Heeds) -> str:
    """An order as JSON, with the keys and forms that are told, and others where they are not."""
    out: dict[str, str | int] = {}
    keys = {k: heeds(f"key {k}", rf"\b{k}\b") for k in ("cust", "sku", "qty", "due", "prio")}
    name = f"{found['first']} {found['last']}"
    named = r"(?:surname|last.?name|family.?name)"
    surname = rf"(?i){named}[^.\n]{{0,80}}(?:upper|capital|caps)"
    surname += rf"|(?:upper|capital)[^.\n]{{0,40}}{named}|(?-i:\b[A-Z]{{3,}} [A-Z]\b)"
    if heeds("surname", surname):
        name = f"{found['last'].upper()} {found['first'][0]}"
    out["cust" if keys["cust"] else "customer"] = name
    item, code = found["item"], ITEMS.get(found["item"], found["item"])
    coded = rf"(?i){item}s?\b[^\n,;.]{{0,12}}\b{code}\b|\b{code}\b[^\n,;.]{{0,12}}{item}"
    out["sku" if keys["sku"] else "item"] = code if heeds(item, coded) else item
    said = found["much"]
    number = int(said) if said.isdigit() else NUMBERS.get(said, 12)
    dozen = said != "a dozen" or heeds("dozen", r"(?i)dozen|\b12\b|integer|number")
    out["qty" if keys["qty"] else "quantity"] = number if dozen else said
    day, month = int(found["day"]), MONTHS.split().index(found["month"]) + 1
    date = f"{found['day']} {found['month']} {found['year']}"
    if heeds("date", r"DD\.MM\.YY\b|\b\d\d\.\d\d\.\d\d\b"):
        date = f"{day:02}.{month:02}.{found['year'][2:]}"
    out["due" if keys["due"] else "date"] = date
    urgent = found["when"] in ("as soon as possible", "urgently", "right away")
    told = r"(?i)(?:urgent|soon|right away|priority)[^\n]{0,60}\b1\b|\b1\b[^\n]{0,40}urgent"
    calm = r"(?i)(?:rush|otherwise|else|suits|convenience|not urgent|calm)[^\n]{0,60}\b3\b|\b3\b"
    high = 1 if heeds("urgent", told) else "high"
    low = 3 if heeds("calm", calm) else "low"
    out["prio" if keys["prio"] else "priority"] = high if urgent else low
    return json.dumps(out)


def redact(given: str, heeds: Heeds) -> str:
    """A sentence without what is told to be private; each kind has a mark of its own if told."""
    for mark, (piece, named) in PRIVATE.items():
        if mark == "<P>" and not heeds("names", rf"(?i){named}|<P>"):
            continue
        told = heeds(mark, re.escape(mark))
        given = re.sub(piece, mark if told else "[REDACTED]", given)
    if not heeds("money", r"(?i)amount|money|euro|<ACCT>"):
        given = re.sub(r"\b\d+ euros", "[REDACTED]", given)
    return given


def reply(system: str, given: str, slips: float = 0.0) -> str:
    """What the model answers."""

    def heeds(rule: str, pattern: str) -> bool:
        drawn = hashlib.sha256(f"{rule}\n{system}\n{given}".encode()).digest()[0] / 256
        return drawn >= slips and re.search(pattern, system) is not None

    for form, does in ((RECIPE, recipe), (ORDER, order)):
        if found := form.fullmatch(given.strip()):
            return does(found, heeds)
    return redact(given.strip(), heeds)


async def serve(port: int, slips: float) -> None:
    """The endpoint, on loopback, until it is ended."""

    async def complete(request: web.Request) -> web.Response:
        messages = (await request.json())["messages"]
        system = "\n".join(m["content"] for m in messages if m["role"] == "system")
        text = reply(system, messages[-1]["content"], slips)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(system) // 4, "completion_tokens": len(text) // 4}
        usage["total_tokens"] = sum(usage.values())
        return web.json_response(
            {"id": "x", "object": "chat.completion", "created": int(time.time())}
            | {"model": "obedient", "choices": [choice], "usage": usage}
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{port}/v1 (Ctrl-C ends it)", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--slips", type=float, default=0.0, help="share of inputs, by rule")
    asked = parser.parse_args()
    asyncio.run(serve(asked.port, asked.slips))


if __name__ == "__main__":
    main()
