"""What the embedded checkpoint can hear and say: a grammar of home and car, and numbers.

A sentence is a template whose slots are filled. Each question has one scripted answer, a template
with the same slots. A tenth of the sentences is never trained on: which, is read off a digest, so
that it never changes.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

__all__ = [
    "ANSWERS",
    "CLASSES",
    "Sentence",
    "Texts",
    "bare",
    "digits",
    "held_out",
    "is_held_out",
    "questions",
    "sentence",
    "spliced",
    "spoken",
    "vocabulary",
    "word_salad",
]

ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ZERO = "zero"


def spoken(number: int) -> str:
    """A whole number from 0 to 99 in words."""
    if number < 20:
        return (ZERO, *ONES, *TEENS)[number]
    tens, ones = divmod(number, 10)
    return " ".join([TENS[tens - 2], *([ONES[ones - 1]] if ones else [])])


def _numbers(first: int, last: int) -> list[str]:
    return [spoken(number) for number in range(first, last + 1)]


SLOTS: dict[str, list[str]] = {
    "room": ["kitchen", "bathroom", "bedroom", "garage", "office"],
    "device": ["light", "fan", "heater", "radio"],
    "opening": ["door", "window"],
    "number": _numbers(1, 99),
    "degrees": _numbers(10, 40),
    "unit": ["minutes", "seconds", "hours"],
    "hour": _numbers(1, 12),
    "minute": _numbers(10, 59),
    "media": ["jazz", "music"],
    "who": ["mom", "home"],
}

ANSWERS: dict[str, str] = {
    "turn on the {room} {device}": "turning on the {room} {device}",
    "turn off the {room} {device}": "turning off the {room} {device}",
    "open the {room} {opening}": "opening the {room} {opening}",
    "close the {room} {opening}": "closing the {room} {opening}",
    "lock the {room} {opening}": "locking the {room} {opening}",
    "unlock the {room} {opening}": "unlocking the {room} {opening}",
    "set a timer for {number} {unit}": "timer set for {number} {unit}",
    "set the volume to {number}": "setting the volume to {number}",
    "set the temperature to {degrees} degrees": "setting the temperature to {degrees} degrees",
    "wake me up at {hour}": "alarm set for {hour}",
    "wake me up at {hour} {minute}": "alarm set for {hour} {minute}",
    "play some {media}": "playing some {media}",
    "stop the {media}": "stopping the {media}",
    "call {who}": "calling {who}",
    "what time is it": "it is ten thirty",
    "what day is it": "today is monday",
    "how is the weather today": "it is sunny today",
    "how is the weather tomorrow": "it is cold tomorrow",
    "play the next song": "playing the next song",
    "play the news": "playing the news",
    "drive home": "driving home now",
    "start the timer": "starting the timer",
    "stop the timer": "stopping the timer",
    "turn left": "turning left",
    "turn right": "turning right",
    "turn the volume up": "turning the volume up",
    "turn the volume down": "turning the volume down",
    "how long is the drive": "twenty minutes",
    "which room is cold": "the bathroom is cold",
    "are you okay": "yes thank you",
    "hello": "hello how can i help",
    "good morning": "good morning to you",
    "good evening": "good evening to you",
    "good night": "good night",
    "thank you": "you are welcome",
    "goodbye": "goodbye",
    "no": "okay",
}
"""For each question its answer."""

PLAIN = ("{number}", "{number} {unit}", "{number} {number}", "{hour} {minute}", "yes", "okay")
"""What is only heard and said."""

WEIGHTS = {"set a timer": 4, "timer set": 4, "set the": 3, "setting": 3, "wake me": 2, "alarm": 2}
"""Templates that begin so are drawn so many times as often, for the many numbers in them."""


HOMOPHONES = ("for", "to")
"""What sounds like a number: only sense tells which it is."""
PATIENCE = 2000
"""So many draws without a new sentence, and there are no more: of questions to test with there are
about a hundred."""


@dataclass(frozen=True)
class Sentence:
    """`answer` is "" where there is none."""

    text: str
    answer: str = ""


def _templates() -> list[tuple[str, str]]:
    said = [(question, answer) for question, answer in ANSWERS.items()]
    said += [(answer, "") for answer in ANSWERS.values()]
    return said + [(template, "") for template in PLAIN]


TEMPLATES = _templates()


def _weight(template: str) -> int:
    return next((n for start, n in WEIGHTS.items() if template.startswith(start)), 1)


def is_held_out(text: str) -> bool:
    """May this sentence only be tested with? One without a slot never is."""
    if any(text == template for template, _ in TEMPLATES):
        return False
    return hashlib.sha256(text.encode()).digest()[0] % 10 == 0


def sentence(draw: random.Random, *, questions: bool = False, testing: bool = False) -> Sentence:
    """A sentence to train on, or one to test with; only those with an answer if `questions`."""
    return _drawn(draw, [t for t in TEMPLATES if t[1]] if questions else TEMPLATES, testing)


def bare(draw: random.Random) -> str:
    """What has no words around it to guess from, to train on: numbers, mostly."""
    return _drawn(draw, [(template, "") for template in PLAIN], testing=False).text


def _drawn(draw: random.Random, choices: list[tuple[str, str]], testing: bool) -> Sentence:
    weights = [_weight(template) for template, _ in choices]
    while True:
        template, answer = draw.choices(choices, weights)[0]
        if template == "{number} {number}" and draw.random() < 0.7:
            text = digits(draw)
            filled = Sentence(text)
        else:
            filled = _fill(draw, template, answer)
        if is_held_out(filled.text) == testing:
            return filled


def _fill(draw: random.Random, template: str, answer: str) -> Sentence:
    text = template
    for slot in re.findall(r"{(\w+)}", template):
        word = draw.choice(SLOTS[slot])  # a slot that comes twice is filled twice
        text = text.replace(f"{{{slot}}}", word, 1)
        answer = answer.replace(f"{{{slot}}}", word, 1)
    return Sentence(text, answer)


def digits(draw: random.Random) -> str:
    """Three to six digits, one by one."""
    return " ".join(draw.choice([ZERO, *ONES]) for _ in range(draw.randint(3, 6)))


def word_salad(draw: random.Random) -> str:
    """One to seven words of the vocabulary without sense, more often few: with them one learns
    words, and not sentences by heart. Nothing that would be held out, sentence or not."""
    words = [word for word in vocabulary() if word not in HOMOPHONES]
    while True:
        count = draw.choice((1, 1, 2, 2, 3, 4, 5, 6, 7))
        text = " ".join(draw.choice(words) for _ in range(count))
        if not is_held_out(text):
            return text


def spliced(draw: random.Random) -> str:
    """Halves of two sentences, which make none that is held out."""
    while True:
        first, second = sentence(draw).text.split(), sentence(draw).text.split()
        text = " ".join(first[: draw.randint(1, 4)] + second[-draw.randint(1, 4) :])
        if not is_held_out(text):
            return text


@dataclass(frozen=True)
class Texts:
    """What is learnt: words without sense, spliced sentences, bare numbers and questions in these
    shares, and sentences of all kinds. Who learns whole ones alone knows them by heart, and says
    what was met for what was not."""

    salad: float
    splices: float
    numbers: float = 0.0
    questions: float = 0.0

    def draw(self, draw: random.Random) -> str:
        """One of them."""
        shares = (self.salad, self.splices, self.numbers, self.questions)
        kinds = (
            word_salad,
            spliced,
            bare,
            lambda draw: sentence(draw, questions=True).text,
            lambda draw: sentence(draw).text,
        )
        (kind,) = draw.choices(kinds, (*shares, 1 - sum(shares)))
        return kind(draw)


@cache
def vocabulary() -> tuple[str, ...]:
    """All words, sorted."""
    texts = itertools.chain.from_iterable(TEMPLATES)
    found = {word for text in texts for word in text.split() if "{" not in word}
    found |= {word for words in SLOTS.values() for text in words for word in text.split()}
    return tuple(sorted(found | {ZERO}))


def questions() -> Iterator[Sentence]:
    """Every question with its answer, but for those of which either is held out."""
    for template, answer in ANSWERS.items():
        slots = re.findall(r"{(\w+)}", template)
        for words in itertools.product(*(SLOTS[slot] for slot in slots)):
            filling = dict(zip(slots, words, strict=True))
            made = Sentence(template.format(**filling), answer.format(**filling))
            if not (is_held_out(made.text) or is_held_out(made.answer)):
                yield made


def held_out(draw: random.Random, *, questions: bool = False) -> Iterator[Sentence]:
    """Sentences to test with, each once, until there seem to be no more."""
    seen, misses = set[str](), 0
    while misses < PATIENCE:
        found = sentence(draw, questions=questions, testing=True)
        misses = misses + 1 if found.text in seen else 0
        if not misses:
            seen.add(found.text)
            yield found


CLASSES = {word: index for index, word in enumerate(vocabulary(), 1)}
"""A number for each word; 0 is for none."""
