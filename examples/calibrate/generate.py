"""Writes questions.jsonl: 600 short questions whose answers a program can check.

Facts were written by hand (facts.txt: question | answers that count). Sums, units, dates and one-liners of code are
made here, always the same ones. Run it with `python examples/calibrate/generate.py`.
"""

import calendar
import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parent
QUESTIONS = FOLDER / "questions.jsonl"
SEED = 20_260_101
SUMS, UNITS, DATES, CODE = 150, 110, 88, 100

Question = dict[str, Any]


def number(prompt: str, value: object) -> Question:
    return {"prompt": f"{prompt} Answer with the number alone.", "check": {"type": "number", "value": str(value)}}


def text(prompt: str, *answers: str) -> Question:
    return {"prompt": prompt, "check": {"type": "text", "any": list(answers)}}


def facts() -> list[Question]:
    rows = (line.split(" | ") for line in (FOLDER / "facts.txt").read_text(encoding="utf-8").splitlines())
    return [text(f"{question} Answer in a few words.", *answers.split("; ")) for question, answers in rows]


def a_sum(random: Random) -> Question:
    kind = random.randrange(8)
    a, b, c = random.randint(12, 99), random.randint(3, 29), random.randint(2, 12)
    if kind == 0:
        return number(f"What is {a} + {b}?", a + b)
    if kind == 1:
        return number(f"What is {a * 10} - {b}?", a * 10 - b)
    if kind == 2:
        return number(f"What is {a} times {c}?", a * c)
    if kind == 3:
        return number(f"What is {a * c} divided by {c}?", a)
    if kind == 4:
        share = random.choice((5, 10, 20, 25, 50, 75))
        return number(f"What is {share}% of {a * 20}?", share * a * 20 // 100)
    if kind == 5:
        asked = f"How many pens are in {b} boxes, after {c - 1} pens were taken out?"
        return number(f"A box holds {c} pens. {asked}", b * c - c + 1)
    if kind == 6:
        mean, off, more = random.randint(12, 40), random.randint(1, 9), random.randint(1, 9)
        return number(f"What is the mean of {mean - off}, {mean + off}, {mean + more} and {mean - more}?", mean)
    price = b % 5 + 2
    return number(
        f"Anna has {a + 80} euros. She buys {c} tickets at {price} euros each. How many euros are left?",
        a + 80 - c * price,
    )


CONVERSIONS = (
    ("kilometres", "metres", 1000),
    ("metres", "centimetres", 100),
    ("kilograms", "grams", 1000),
    ("litres", "millilitres", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("days", "hours", 24),
    ("weeks", "days", 7),
    ("tonnes", "kilograms", 1000),
    ("dozens", "pieces", 12),
    ("bytes", "bits", 8),
    ("feet", "inches", 12),
    ("yards", "feet", 3),
)


def a_unit(random: Random) -> Question:
    large, small, factor = random.choice(CONVERSIONS)
    count = random.randint(2, 48)
    kind = random.randrange(4)
    if kind == 0:
        return number(f"How many {large} are {count * factor} {small}?", count)
    if kind == 1:
        return number(f"How many {small} are {count}.5 {large}?", Decimal(f"{count}.5") * factor)
    if kind == 2:
        celsius = 5 * random.randint(-4, 20)
        return number(f"What is {celsius} degrees Celsius in degrees Fahrenheit?", celsius * 9 // 5 + 32)
    return number(f"How many {small} are {count} {large}?", count * factor)


def a_date(random: Random) -> Question:
    day = date(random.randint(1990, 2035), random.randint(1, 12), random.randint(1, 28))
    shown = f"{day.day} {calendar.month_name[day.month]} {day.year}"
    days = random.randint(3, 60)
    kind = random.randrange(5)
    if kind == 0:
        later = day + timedelta(days=days)
        return {
            "prompt": f"Which date is {days} days after {shown}? Answer with the date alone, as YYYY-MM-DD.",
            "check": {"type": "date", "value": later.isoformat()},
        }
    if kind == 1:
        return text(
            f"Which day of the week was or will be {shown}? Answer with the day alone.",
            calendar.day_name[day.weekday()],
        )
    if kind == 2:
        later = day + timedelta(days=days)
        end = f"{later.day} {calendar.month_name[later.month]} {later.year}"
        return number(f"How many days are there from {shown} to {end}?", days)
    if kind == 3:
        month = calendar.month_name[day.month]
        return number(f"How many days has {month} {day.year}?", calendar.monthrange(day.year, day.month)[1])
    hour, minutes = random.randint(0, 20), random.randint(5, 170)
    total = hour * 60 + 15 + minutes
    return text(
        f"A train leaves at {hour:02d}:15 and takes {minutes} minutes. When does it arrive?"
        " Answer with the time alone, as HH:MM.",
        f"{total // 60 % 24:02d}:{total % 60:02d}",
    )


WORDS = ("harbor", "pilot", "river", "lantern", "meadow", "copper", "signal", "garden", "window", "planet")


def a_line_of_code(random: Random) -> Question:
    word, a, b = random.choice(WORDS), random.randint(2, 9), random.randint(2, 5)
    values = [random.randint(1, 9) for _ in range(4)]
    numeric = {
        f"len({word!r})": len(word),
        f"sum({values})": sum(values),
        f"max({values}) - min({values})": max(values) - min(values),
        f"len({word!r} * {b})": len(word) * b,
        f"{a} ** {b}": a**b,
        f"{a * 7 + b} % {a}": (a * 7 + b) % a,
        f"{a * 9} // {b}": a * 9 // b,
        f"sum(range({a}))": sum(range(a)),
        f"len([x for x in {values} if x > {b}])": len([x for x in values if x > b]),
        f"sorted({values})[{b - 2}]": sorted(values)[b - 2],
        f"{values}.count({values[0]})": values.count(values[0]),
        f"{word!r}.index({word[b - 1]!r})": word.index(word[b - 1]),
        f"int({str(a)!r}) + {b}": a + b,
        f"len(set({values}))": len(set(values)),
        f"sum(x * x for x in range({b}))": sum(x * x for x in range(b)),
    }
    textual = {
        f"{word!r}.upper()": word.upper(),
        f"{word!r}[::-1]": word[::-1],
        f"{word!r}[:{b}]": word[:b],
        f"{word!r}[-1]": word[-1],
        f"{word!r}.replace({word[0]!r}, 'z')": word.replace(word[0], "z"),
    }
    if random.random() < 0.7:
        code, value = random.choice(sorted(numeric.items()))
        return number(f"What is the value of the Python expression {code}?", value)
    code, shown = random.choice(sorted(textual.items()))
    return text(f"What is the value of the Python expression {code}? Answer with the string alone.", shown)


def made(count: int, make: Any, random: Random) -> list[Question]:
    """`count` questions, no prompt twice."""
    found: dict[str, Question] = {}
    while len(found) < count:
        question = make(random)
        found.setdefault(question["prompt"], question)
    return list(found.values())


def questions() -> list[Question]:
    random = Random(SEED)
    by_category = {
        "fact": facts(),
        "sum": made(SUMS, a_sum, random),
        "unit": made(UNITS, a_unit, random),
        "date": made(DATES, a_date, random),
        "code": made(CODE, a_line_of_code, random),
    }
    return [
        {"id": f"{category}-{place:03d}", "category": category, **question}
        for category, found in by_category.items()
        for place, question in enumerate(found, 1)
    ]


def main() -> None:
    lines = (json.dumps(question, ensure_ascii=False) for question in questions())
    QUESTIONS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
