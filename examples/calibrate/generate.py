"""Writes questions.jsonl: 600 short questions whose answers a program can check.

Facts were written by hand (facts.txt: question | answers that count). Details of a message, labels, sums and one-liners
of code are made here, always the same ones. Run it with `python examples/calibrate/generate.py`.
"""

import json
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parent
QUESTIONS = FOLDER / "questions.jsonl"
SEED = 20_260_101
DETAILS, LABELS, SUMS, CODE = 128, 120, 100, 100

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


WORDS = ("harbor", "pilot", "river", "lantern", "meadow", "copper", "signal", "garden", "window", "planet")
FIRST = ("Maria", "Tom", "Aisha", "Pavel", "Ingrid", "Kenji", "Lucia", "Omar", "Grace", "Henrik")
LAST = ("Keller", "Okafor", "Novak", "Lindberg", "Tanaka", "Moreau", "Haddad", "Silva", "Byrne", "Fischer")
CITIES = ("Lyon", "Porto", "Graz", "Bergen", "Ghent", "Krakow", "Turin", "Aarhus", "Leeds", "Tartu")
GOODS = ("lamp", "kettle", "keyboard", "backpack", "bicycle", "mirror", "printer", "armchair")


def a_detail(random: Random) -> Question:
    """Something that stands in a short message."""
    first, last, city, item = (random.choice(words) for words in (FIRST, LAST, CITIES, GOODS))
    order, price, count = random.randint(10_000, 99_999), random.randint(11, 480), random.randint(2, 9)
    # The address holds no name: an answer that gives it in place of the name is not to pass.
    address = f"{random.choice(WORDS)}{random.randint(10, 99)}@example.com"
    messages = (
        f"Hello, my name is {first} {last} from {city}. My order {order}, a {item} for {price} euros, has not arrived."
        f" Please write to {address}.",
        f"Invoice {order}: {count} pieces, {price} euros in all, one {item} among them. Ship to {first} {last},"
        f" {city}. Contact: {address}.",
        f"Reminder: {first} {last} ({address}) comes to {city} on Monday to look at the {item}. Ticket {order},"
        f" {count} people, budget {price} euros.",
    )
    wanted: dict[str, Question] = {
        "What is the e-mail address in it? Answer with the address alone.": text("", address),
        "Which city does it name? Answer with the city alone.": text("", city),
        "What is the person's last name? Answer with the name alone.": text("", last),
        "What is the person's first name? Answer with the name alone.": text("", first),
        "Which thing is it about? Answer with one word.": text("", item),
        "What is the five-digit number in it? Answer with the number alone.": number("", order),
        "How many euros does it name? Answer with the number alone.": number("", price),
    }
    asked, question = random.choice(list(wanted.items()))
    return {**question, "prompt": f"Message: {random.choice(messages)}\n\n{asked}"}


GOOD = ("works perfectly", "is a joy to use", "looks beautiful", "was worth every cent", "arrived early and intact")
BAD = ("broke after two days", "is a waste of money", "arrived damaged", "never worked properly", "smells terrible")
GLAD = ("I would buy it again.", "Highly recommended.", "Thank you so much!", "My family loves it.")
SORRY = ("I want my money back.", "Do not buy it.", "Very disappointed.", "Never again.")
REQUESTS = {
    "billing": (
        "I was charged twice for the {}.",
        "The invoice for the {} shows the wrong tax.",
        "When do you refund the {}?",
    ),
    "delivery": (
        "Where is the parcel with the {}?",
        "The courier left the {} at the wrong house.",
        "Can the {} come on Friday?",
    ),
    "repair": ("The {} does not switch on any more.", "A screw of the {} is broken.", "The {} makes a strange noise."),
}
SENTENCES = {
    "French": (
        "Où est la gare la plus proche ?",
        "Je voudrais deux cafés, s'il vous plaît.",
        "Il pleut depuis ce matin.",
    ),
    "German": ("Wo ist der nächste Bahnhof?", "Ich möchte bitte zwei Kaffee.", "Es regnet seit heute Morgen."),
    "Spanish": ("¿Dónde está la estación más cercana?", "Quisiera dos cafés, por favor.", "Llueve desde esta mañana."),
    "Italian": ("Dov'è la stazione più vicina?", "Vorrei due caffè, per favore.", "Piove da stamattina."),
    "Polish": ("Gdzie jest najbliższy dworzec?", "Poproszę dwie kawy.", "Od rana pada deszcz."),
    "Swedish": (
        "Var ligger närmaste station?",
        "Jag skulle vilja ha två kaffe, tack.",
        "Det har regnat sedan i morse.",
    ),
}


def a_label(random: Random) -> Question:
    """Which of a few classes a short text belongs to."""
    kind, item = random.randrange(8), random.choice(GOODS)
    if kind < 4:
        good = random.random() < 0.5
        review = f"The {item} {random.choice(GOOD if good else BAD)}. {random.choice(GLAD if good else SORRY)}"
        asked = "Is this review positive or negative? Answer with one word."
        return text(f"Review: {review}\n\n{asked}", "positive" if good else "negative")
    if kind < 7:
        team = random.choice(list(REQUESTS))
        request = random.choice(REQUESTS[team]).format(item)
        return text(
            f"Request: {request}\n\nWhich team answers it: billing, delivery or repair? Answer with one word.", team
        )
    language = random.choice(list(SENTENCES))
    return text(f"{random.choice(SENTENCES[language])}\n\nWhich language is this? Answer with one word.", language)


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
        "detail": made(DETAILS, a_detail, random),
        "label": made(LABELS, a_label, random),
        "sum": made(SUMS, a_sum, random),
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
