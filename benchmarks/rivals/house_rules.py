"""Tasks with house rules that only feedback tells of, made from any seed.

TASKS[name] = (rows, score, the prompt to start from, all rules said, most tokens of an answer):
`rows(n, seed)` gives inputs with their right answers, `score(output, row)` 0..1 with words on what
was expected. Orders, redaction and recipes were looked at while the optimiser was worked on;
queries and shelf marks were not.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from difflib import SequenceMatcher

Row = dict[str, str]
FIRST = "Anna Peter Maria John Lena Paul Sofia Karl Ruth Omar Nina Hugo Clara Ivan Mei Tom".split()
LAST = (
    "Schmidt Baker Rossi Novak Weber Okafor Lindgren Costa Meyer Dubois Fraser Kowalski Tanaka "
    "Moreau Hale Ortiz"
).split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
ITEMS = {
    "printer paper": "PAP",
    "toner": "TON",
    "desk lamp": "LMP",
    "office chair": "CHR",
    "notebook": "NBK",
    "stapler": "STP",
}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 8: "eight", 10: "ten"}
NUMBERS[12] = "a dozen"
URGENT = ["as soon as possible", "urgently", "right away"]
CALM = ["whenever it suits", "no rush", "at your convenience"]


def _exactly(row: Row) -> str:
    return f"Expected exactly: {row['answer']}"


def orders(n: int, seed: int) -> list[Row]:
    """Free text to JSON: five fields, a rule of the house in each."""
    draw = random.Random(f"orders{seed}")
    found = []
    for _ in range(n):
        first, last = draw.choice(FIRST), draw.choice(LAST)
        day, month = draw.randint(1, 28), draw.randint(0, 11)
        item, count, urgent = draw.choice(list(ITEMS)), draw.choice(list(NUMBERS)), draw.random()
        said = NUMBERS[count] if draw.random() < 0.6 else str(count)
        when = draw.choice(URGENT if urgent < 0.5 else CALM)
        answer = {
            "cust": f"{last.upper()} {first[0]}",
            "sku": ITEMS[item],
            "qty": count,
            "due": f"{day:02}.{month + 1:02}.24",
            "prio": 1 if urgent < 0.5 else 3,
        }
        text = f"{first} {last} needs {said} {item}s by {day} {MONTHS[month]} 2024, {when}."
        found.append({"input": text, "answer": json.dumps(answer)})
    return found


def score_orders(output: str, row: Row) -> tuple[float, str]:
    """The share of right fields, less those that should not be there."""
    want = json.loads(row["answer"])
    match = re.search(r"\{.*\}", output, re.DOTALL)
    try:
        got = json.loads(match[0]) if match else None
    except ValueError:
        got = None
    if not isinstance(got, dict):
        return 0.0, f"Not a JSON object. Expected: {row['answer']}"
    surplus = [k for k in got if k not in want]
    bad = [k for k in want if got.get(k) != want[k]] + surplus
    score = max(0, len(want) - len(bad)) / len(want)
    if not bad:
        return score, "Right."
    return score, f"Wrong or missing fields: {', '.join(bad)}. Expected: {row['answer']}"


SHAPES = [
    "Please tell {name} that the {amount} euros went to {account}.",
    "{name} can be reached at {mail} or {phone}.",
    "Send {amount} euros to {name}, account {account}, and write to {mail}.",
    "The call from {phone} was {name} about {amount} euros.",
]
MARKS = {"name": "<P>", "account": "<ACCT>", "mail": "<MAIL>", "phone": "<TEL>"}


def redact(n: int, seed: int) -> list[Row]:
    """Keep the sentence, replace what the house calls private."""
    draw = random.Random(f"redact{seed}")
    found = []
    for _ in range(n):
        first, last, amount = draw.choice(FIRST), draw.choice(LAST), str(draw.randint(20, 900))
        digits = " ".join(str(draw.randint(1000, 9999)) for _ in range(2))
        private = {
            "name": f"{first} {last}",
            "mail": f"{first.lower()}.{last.lower()}@example.org",
            "phone": f"+44 {draw.randint(20, 79)} {draw.randint(1000000, 9999999)}",
            "account": f"DE{draw.randint(10, 99)} {digits} {draw.randint(10, 99)}",
        }
        shape = draw.choice(SHAPES)
        found.append(
            {
                "input": shape.format(amount=amount, **private),
                "answer": shape.format(amount=amount, **MARKS),
            }
        )
    return found


def score_redact(output: str, row: Row) -> tuple[float, str]:
    """1 for the right text; below, how much of it is alike."""
    got, want = output.strip(), row["answer"]
    if got == want:
        return 1.0, "Right."
    alike = SequenceMatcher(None, got, want).ratio()
    return round(max(0.0, 2 * alike - 1) * 0.9, 3), _exactly(row)


UNITS = {"cup": "c", "tablespoon": "tb", "teaspoon": "ts", "ounce": "oz", "pound": "lb"}
AMOUNTS = {"1/2": "0.5", "1/4": "0.25", "3/4": "0.75", "1": "1", "2": "2", "3": "3"}
AMOUNTS |= {"1 1/2": "1.5", "2 1/2": "2.5"}
FOODS = (
    "flour sugar butter rice salt pepper oats cream honey raisins almonds cheese barley parsley "
    "cocoa yeast"
).split()
MANNERS = ["chopped", "melted", "sifted", "toasted", "grated", ""]


def recipe(n: int, seed: int) -> list[Row]:
    """An ingredient's line to the house's form with pipes."""
    draw = random.Random(f"recipe{seed}")
    found = []
    for _ in range(n):
        amount, unit = draw.choice(list(AMOUNTS)), draw.choice(list(UNITS))
        food, manner = draw.choice(FOODS), draw.choice(MANNERS)
        many = "" if amount in ("1/2", "1/4", "3/4", "1") else "s"
        text = f"{amount} {unit}{many} of {food}" + (f", {manner}" if manner else "")
        answer = f"{food.upper()}|{AMOUNTS[amount]}|{UNITS[unit]}|{manner or '-'}"
        found.append({"input": text, "answer": answer})
    return found


TABLES = {
    "customers": ("cust", "cid", {"name": "nm", "city": "town", "country": "ctry"}),
    "suppliers": ("supp", "sid", {"name": "nm", "city": "town", "rating": "rtg"}),
    "products": ("prod", "pid", {"name": "nm", "price": "prc", "weight": "wgt"}),
}
ASKED = [
    ("How many {table} are there?", "select count(*) from {short};"),
    ("List the {column} of all {table}.", "select {col} from {short} order by {key};"),
    (
        "Which {table} have the {column} {value}?",
        "select {key} from {short} where {col}='{VALUE}';",
    ),
    (
        "How many {table} are there for each {column}?",
        "select {col},count(*) from {short} group by {col};",
    ),
]
VALUES = "Oslo Lima Kyoto Turin Bergen Porto Quito Ghent".split()


def queries(n: int, seed: int) -> list[Row]:
    """A question to the house's SQL: short names, an order, capitals in literals."""
    draw = random.Random(f"queries{seed}")
    found = []
    for _ in range(n):
        table = draw.choice(list(TABLES))
        short, key, columns = TABLES[table]
        column, value = draw.choice(list(columns)), draw.choice(VALUES)
        question, query = draw.choice(ASKED)
        words = {"table": table, "column": column, "value": value, "VALUE": value.upper()}
        words |= {"short": short, "key": key, "col": columns[column]}
        found.append({"input": question.format(**words), "answer": query.format(**words)})
    return found


TOPICS = {"history": "H", "science": "S", "travel": "T", "music": "M", "law": "L"}
WORDS = "Rivers Winter Bridges Silence Harvest Lanterns Copper Gardens Islands Thunder".split()


def shelf_marks(n: int, seed: int) -> list[Row]:
    """A book to the mark on its back: topic, three letters, decade, and O for oversize."""
    draw = random.Random(f"shelf{seed}")
    found = []
    for _ in range(n):
        first, last, topic = draw.choice(FIRST), draw.choice(LAST), draw.choice(list(TOPICS))
        title = f"{draw.choice(WORDS)} and {draw.choice(WORDS)}"
        year, height = draw.randint(1950, 2023), draw.randint(18, 40)
        text = f"{first} {last}: {title}. A book on {topic}, {year}, {height} cm."
        large = "/O" if height > 30 else ""
        answer = f"{TOPICS[topic]}-{last[:3].upper()}.{str(year)[2]}{large}"
        found.append({"input": text, "answer": answer})
    return found


def _score_parts(separator: str) -> Callable[[str, Row], tuple[float, str]]:
    def score(output: str, row: Row) -> tuple[float, str]:
        """The share of right parts; 0 where there are not as many as there should be."""
        got, want = (re.split(separator, t.strip()) for t in (output, row["answer"]))
        if len(got) != len(want):
            return 0.0, _exactly(row)
        right = sum(g == w for g, w in zip(got, want, strict=True))
        return right / len(want), "Right." if right == len(want) else _exactly(row)

    return score


ORDERS_RULES = """Turn the order into one line of JSON with exactly these keys, and nothing else:
"cust": the surname in capitals, a space, and the first letter of the first name, e.g. "HOLT B"
"sku": a code for the item: printer paper PAP, toner TON, desk lamp LMP, office chair CHR, notebook NBK, stapler STP
"qty": the quantity as a number (a dozen is 12)
"due": the date as DD.MM.YY with two digits each, e.g. 7 May 2024 is "07.05.24"
"prio": 1 if it is urgent, else 3"""  # noqa: E501
REDACT_RULES = """Copy the text, but replace every person's name by <P>, every account number by <ACCT>, every e-mail address by <MAIL> and every telephone number by <TEL>. Amounts of money stay. Write nothing else.
Text: Ask Eva Holm about the 40 euros on DE11 2222 3333 44.
Answer: Ask <P> about the 40 euros on <ACCT>."""  # noqa: E501
RECIPE_RULES = """Rewrite the ingredient in this form, on one line, with nothing else: NAME|quantity|unit|note
NAME is in capitals. The quantity is a decimal number: 1/2 is 0.5, 2 1/2 is 2.5. The unit is a code: cup c, tablespoon tb, teaspoon ts, ounce oz, pound lb. The note is the word after the comma, or - if there is none.
3/4 cup of milk, warmed -> MILK|0.75|c|warmed
2 tablespoons of oil -> OIL|2|tb|-"""  # noqa: E501
QUERIES_RULES = """Answer with one line of SQL in small letters, ended by a semicolon, and nothing else. No space around = and none after a comma.
Tables and columns: customers cust(cid, name nm, city town, country ctry), suppliers supp(sid, name nm, city town, rating rtg), products prod(pid, name nm, price prc, weight wgt).
Values are written in capitals. Lists are ordered by the key. "Which" asks for the key.
How many customers are there? -> select count(*) from cust;
List the city of all suppliers. -> select town from supp order by sid;
Which products have the name Ghent? -> select pid from prod where nm='GHENT';
How many customers are there for each country? -> select ctry,count(*) from cust group by ctry;"""  # noqa: E501
SHELF_RULES = """Write the shelf mark of the book and nothing else: TOPIC-NAM.D, with /O at the end if the book is taller than 30 cm.
TOPIC is history H, science S, travel T, music M, law L. NAM are the first three letters of the author's last name in capitals. D is the third digit of the year.
Jan Verne: Sand and Snow. A book on law, 1987, 33 cm. -> L-VER.8/O"""  # noqa: E501

TASKS = {
    "orders": (orders, score_orders, "Turn the order into JSON.", ORDERS_RULES, 90),
    "redact": (redact, score_redact, "Remove private data from the text.", REDACT_RULES, 70),
    "recipe": (
        recipe,
        _score_parts(r"\|"),
        "Rewrite the ingredient for our database.",
        RECIPE_RULES,
        40,
    ),
    "queries": (queries, _score_parts(r" "), "Write SQL for the question.", QUERIES_RULES, 60),
    "shelf marks": (
        shelf_marks,
        _score_parts(r"[-./]"),
        "Give the shelf mark of the book.",
        SHELF_RULES,
        24,
    ),
}
