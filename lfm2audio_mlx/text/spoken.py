"""Text as people say it: numbers, dates, money, units and abbreviations in plain English words.

A table of rules, tried from the top to the bottom; each one is a pattern and what is said for it.
Numbers follow American use, without hyphens and without "and": one hundred twenty three. Digits
that touch letters stay (MP3, 4K), as does every paragraph mostly in another script than Latin.

Four digits from 1100 to 2099 are a year after a word that years follow (YEAR_WORDS) or a month,
beside another year, alone in brackets, before 's, and at a line's start before a stop or colon.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (num2words has no types.)

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import groupby

from num2words import num2words

from lfm2audio_mlx.text.markdown import plain, tidy

__all__ = ["spoken"]


def _table(text: str) -> dict[str, str]:
    """Data that reads like a list: entries parted by commas, the first word is the key."""
    entries = (entry.split(maxsplit=1) for entry in text.split(","))
    return {key: value for key, value in entries}


# These stand before something, so the full stop ends a sentence only where the text ends.
BEFORE = _table(
    "Mr Mister, Mrs Missus, Ms Ms, Dr Doctor, Prof Professor, Rev Reverend, Mt Mount,"
    "Lt Lieutenant, Capt Captain, Sgt Sergeant, Gov Governor, Sen Senator,"
    "approx approximately, Approx Approximately, e.g for example, E.g For example,"
    "i.e that is, I.e That is, vs versus"
)
# These may end a sentence; a capital letter after them shows that they do.
AFTER = _table(
    "etc et cetera, Jr Junior, Sr Senior, Inc Incorporated, Ltd Limited, Corp Corporation,"
    "Co Company, Dept Department, Ave Avenue, Blvd Boulevard, Rd Road, St Street"
)
NUMBERED = _table(
    "No number, Nos numbers, p page, pp pages, Fig figure, fig figure, Vol volume, vol volume"
)
# "Main St. Then" is a street, "in St. Louis" a saint: words that open sentences.
OPENERS = "A After An And As At But He His I If In It My She So The Then There They This We When"

MONTHS = "January February March April May June July August September October November December"
MONTH_NAMES = {name: month for month in MONTHS.split() for name in (month, month[:3])}
MONTH_NAMES["Sept"] = "September"
DAY_NAMES = _table(
    "Mon Monday, Tue Tuesday, Tues Tuesday, Wed Wednesday, Thu Thursday, Thur Thursday,"
    "Thurs Thursday, Fri Friday, Sat Saturday, Sun Sunday"
)
YEAR_WORDS = (
    "in since by from until till of before after during through around between circa year early "
    "mid late spring summer autumn fall winter born died \N{COPYRIGHT SIGN}"
)

# A sign's unit, many of them, a hundredth, many of those.
MONEY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\N{POUND SIGN}": ("pound", "pounds", "penny", "pence"),
    "\N{EURO SIGN}": ("euro", "euros", "cent", "cents"),
    "\N{YEN SIGN}": ("yen", "yen", "sen", "sen"),
}
SCALES = _table(
    "thousand thousand, million million, billion billion, trillion trillion, k thousand,"
    "K thousand, m million, M million, bn billion, B billion, tn trillion, T trillion"
)
# One of it, and many after a bar where an "s" would not do.
UNITS = _table(
    "mm millimeter, cm centimeter, m meter, km kilometer, ft foot|feet, yd yard, mi mile,"
    "mg milligram, g gram, kg kilogram, oz ounce, lb pound, lbs pound, ml milliliter,"
    "mL milliliter, L liter, m\xb2 square meter, km\xb2 square kilometer, m\xb3 cubic meter,"
    "ms millisecond, sec second, min minute, mins minute, hr hour, hrs hour,"
    "kB kilobyte, KB kilobyte, MB megabyte, GB gigabyte, TB terabyte, MiB mebibyte, GiB gibibyte,"
    "Hz hertz|hertz, kHz kilohertz|kilohertz, MHz megahertz|megahertz, GHz gigahertz|gigahertz,"
    "dB decibel, kW kilowatt, kWh kilowatt hour, mph mile per hour|miles per hour,"
    "km/h kilometer per hour|kilometers per hour, m/s meter per second|meters per second,"
    "Mbps megabit per second|megabits per second, MB/s megabyte per second|megabytes per second,"
    "\xb0 degree, \xb0C degree Celsius|degrees Celsius, \xb0F degree Fahrenheit|degrees Fahrenheit"
)
FRACTIONS = _table(
    "\xbd 1/2, \xbc 1/4, \xbe 3/4, \u2153 1/3, \u2154 2/3, \u215b 1/8, \u215c 3/8, \u215d 5/8"
)
PARTS = {2: "half|halves", 4: "quarter"}  # of a whole; any other is an ordinal
FAMOUS = _table("24/7 twenty four seven, 9/11 nine eleven, 50/50 fifty fifty")
OPERATORS = _table(
    "+ plus, = equals, x times, * times, \xd7 times, \xf7 divided by, \u2212 minus, @ at"
)
# What is said may, put together, look like something to say again: at "&.com".
ROUNDS = 5
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def spoken(text: str) -> str:
    """Words to be said for `text` (plain or markdown), one blank line between paragraphs.

    Ordinary prose comes back as it was, and so does what this has given. It takes any string and
    raises nothing, and its time grows with the text's length.
    """
    for _ in range(ROUNDS):
        groups = groupby(plain(text).split("\n\n"), key=_is_latin)
        said = "\n\n".join(_say("\n\n".join(group), latin) for latin, group in groups)
        if said == text:
            break
        text = said
    return text


def _say(text: str, latin: bool) -> str:
    for pattern, say in RULES if latin else ():
        text = pattern.sub(say, text)
    return tidy(text)


def _is_latin(paragraph: str) -> bool:
    """English words among other scripts would be read with a foreign tongue."""
    latin = re.findall(r"[A-Za-z\xaa-\u024f\u1e00-\u1eff]", paragraph)
    return 2 * len(latin) >= len(re.findall(r"[^\W\d_]", paragraph))


# Numbers


@lru_cache(maxsize=4096)  # long tables repeat themselves, and num2words takes its time
def _words(number: int, kind: str = "cardinal") -> str:
    words: str = num2words(number, to=kind)
    return words.replace("-", " ").replace(",", "").replace(" and ", " ")


def _digits(text: str) -> str:
    return " ".join(DIGITS[int(digit)] for digit in text)


def _number(text: str) -> str:
    """A number as written, with commas and decimals; one with leading zeros is a code."""
    whole, _, decimals = text.replace(",", "").partition(".")
    code = len(whole) > 18 or (len(whole) > 1 and whole[0] == "0")
    words = _digits(whole) if code else _words(int(whole))
    return f"{words} point {_digits(decimals)}" if decimals else words


def _bare(match: re.Match[str]) -> str:
    """Seven digits in a row are a telephone or an account, unless they are round millions."""
    text = match[0]
    long = text.isdigit() and len(text) > 6
    return _digits(text) if long and not re.fullmatch(r"[1-9]\d?\d?(000)+", text) else _number(text)


def _year(text: str) -> str:
    return _words(int(text), "year")


def _years(match: re.Match[str]) -> str:
    return re.sub("[0-9]+", lambda year: _year(year[0]), match[0])


def _range(match: re.Match[str]) -> str:
    """10-20 is ten to twenty; where the second is no larger, a score, a code or a difference."""
    sign, low, dash, high = match.groups()
    grows = float(low.replace(",", "")) < float(high.replace(",", ""))
    if not grows or re.match("0[0-9]", low):
        return f"{sign}{low} minus {high}" if dash == " - " else match[0]
    if re.fullmatch(YEAR, low) and re.fullmatch(YEAR, high):
        return f"{_year(low)} to {_year(high)}"
    return f"{low} to {sign}{high}"


def _version(match: re.Match[str]) -> str:
    return " point ".join(_number(part) for part in match[0].split("."))


def _telephone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(_digits(group) for group in re.findall("[0-9]+", match[0]))


def _slashed(match: re.Match[str]) -> str:
    first, second, year = match[0].split("/")
    return f"{_number(first)} slash {_number(second)} slash {_year(year)}"


def _fraction(match: re.Match[str]) -> str:
    """3/4, 2 1/2 and 1/2 km; what is no plain fraction is "slash", for it may be a date."""
    whole, top, bottom, unit = match.groups()
    if not 0 < int(top) < int(bottom) or int(bottom) not in (*range(2, 11), 16, 100):
        return match[0]
    one, _, many = PARTS.get(int(bottom), _words(int(bottom), "ordinal")).partition("|")
    part = one if top == "1" else many or one + "s"
    half = whole and (top, bottom) == ("1", "2")
    said = f"a {part}" if half else f"{_number(top)} {part}"
    said = f"{_number(whole)} and {said}" if whole else said
    return f"{said} {_unit(unit, single=not whole)}" if unit else said


# Dates and times


def _month(match: re.Match[str]) -> str:
    return MONTH_NAMES[match[1]] + match[2] + _year(match[3])


def _decade(match: re.Match[str]) -> str:
    words = _year(match[1])
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _nth(match: re.Match[str]) -> str:
    return _words(int(match[1].replace(",", "")), "ordinal")


def _iso_date(match: re.Match[str]) -> str:
    month = MONTHS.split()[int(match[2]) - 1]
    return f"{month} {_words(int(match[3]), 'ordinal')}, {_year(match[1])}"


def _date(match: re.Match[str]) -> str:
    month, first, last, comma, year = match.groups()
    if not all(0 < int(day) < 32 for day in (first, last or first)):
        return match[0]
    days = [_words(int(day), "ordinal") for day in (first, last) if day]
    return f"{MONTH_NAMES[month]} {' to '.join(days)}" + (comma + _year(year) if year else "")


def _day_first(match: re.Match[str]) -> str:
    article, day, month, stop = match.groups()
    if not 0 < int(day) < 32:
        return match[0]
    said = f"{article or 'the '}{_words(int(day), 'ordinal')} of {MONTH_NAMES[month]}"
    return said + _stop(match, stop)


def _time(match: re.Match[str]) -> str:
    """Hours as written, for 15:20 may be minutes of a film: fifteen twenty."""
    hour, minute, second = match["hour"], match["minute"] or "00", match["second"]
    if minute != "00":
        small = "oh " if minute[0] == "0" else ""
        said = f"{_words(int(hour))} {small}{_words(int(minute))}"
    elif match["half"] or second:
        said = _words(int(hour))
    else:
        said = _words(int(hour)) + (" o'clock" if 0 < int(hour) < 13 else " hundred")
    if second:
        said += f" and {_words(int(second))} seconds"
    if match["half"]:
        said += f" {match['half'].upper()}M" + _stop(match, match["stop"] or "")
    return said


# Money, units, abbreviations


def _money(match: re.Match[str]) -> str:
    sign, number, scale = match["sign"], match["number"], match["scale"]
    one, many, cent, cents = MONEY[sign]
    whole, _, decimals = number.partition(".")
    if scale:
        return f"{_number(number)} {SCALES[scale]} {many}"
    if len(decimals) != 2:
        return f"{_number(number)} {one if number == '1' else many}"
    large = f"{_number(whole)} {one if whole == '1' else many}"
    if decimals == "00":
        return large
    small = f"{_words(int(decimals))} {cent if decimals == '01' else cents}"
    return small if whole == "0" else f"{large} and {small}"


def _unit(sign: str, single: bool) -> str:
    one, _, many = UNITS[sign].partition("|")
    return one if single else many or one + "s"


def _measure(match: re.Match[str]) -> str:
    number, gap, unit = match.groups()
    return f"{_number(number)} {_unit(unit, single=number == '1' or gap == '-')}"


# Where an abbreviation's full stop was a sentence's too.
SENTENCE_END = re.compile(r"[\"')\]\u2019\u201d]*(?:\Z|\n| [\"'(\[\u2018\u201c]?[A-Z0-9\xc0-\xde])")
TEXT_END = re.compile(r"[\"'\u2019\u201d]*(?:\Z|\n\n)")


def _stop(match: re.Match[str], stop: str = ".") -> str:
    return stop if SENTENCE_END.match(match.string, match.end()) else ""


def _before(match: re.Match[str]) -> str:
    return BEFORE[match[1]] + ("." if TEXT_END.match(match.string, match.end()) else "")


def _after(match: re.Match[str]) -> str:
    return AFTER[match[1]] + _stop(match)


# The rules. Every repetition is bounded or starts at one place only, which keeps them linear.


def _any(names: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


def _entry(table: Mapping[str, str], shape: str = "{}") -> Callable[[re.Match[str]], str]:
    return lambda match: shape.format(table[match[1]])


# Grouped by commas or not, with decimals or not.
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,5}(?![0-9])|[0-9]{1,18})(?:\.[0-9]{1,30})?"
YEAR = r"(?:1[1-9]|20)[0-9]{2}(?!\w|[.,][0-9])"
ALONE = r"(?<!\w)(?<!\w\.)(?!(?<=<)3(?!\w|[.,][0-9]))"  # neither LFM2.5 nor <3
DAY = _any(DAY_NAMES)
MONTH = rf"(?:{_any(MONTH_NAMES)})(?!\w)"
GLYPHS = "".join(FRACTIONS)
NTH = r"(?i:st|nd|rd|th)"
SIGN = f"[{''.join(MONEY)}]"
SCALE = rf"(?:[ \n-]?(?P<scale>thousand|million|billion|trillion|(?<=[0-9])(?:{_any(SCALES)})))?"
UNIT = rf"({_any(UNITS)})(?!\w)(?:\.(?= [a-z0-9]))?"  # a full stop only inside a sentence
HALF = r" ?(?P<half>[AaPp])(?P<inner>\.)?[Mm](?(inner)(?P<stop>\.?))(?!\w)"
LESS = rf"<(?!3(?!\w|[.,][0-9]))(?=[-+~#\u2212]*{SIGN}?[0-9])"
SPANS = "day|week|month|year|hour|minute|second|night|person"

Say = str | Callable[[re.Match[str]], str]
PATTERNS: list[tuple[str, Say]] = [
    # digits that the rules for numbers would take for something else
    (rf"(?<=[0-9])(?=[{GLYPHS}])", " "),
    (rf"([{GLYPHS}])", _entry(FRACTIONS)),
    (r"(?<![\w.])\.(?=[0-9])", "0."),
    (rf"(?<![\w/])({_any(FAMOUS)})(?![\w/])", _entry(FAMOUS)),
    (
        r"(?<![\w-])([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?![\w-])",
        _iso_date,
    ),
    (rf"(?<![\w/])[0-9]{{1,2}}/[0-9]{{1,2}}/{YEAR}(?!/)", _slashed),
    (r"(?<![\w.-])\+[0-9]{1,3}(?:[ .-]?\([0-9]{1,5}\))?(?:[ .-][0-9]{2,5}){2,5}(?!\w)", _telephone),
    (
        r"(?<![\w.-])(?:1[.-])?(?:\([0-9]{3}\) ?|[0-9]{3}[.-])[0-9]{3}[ .-][0-9]{4}(?![\w-])",
        _telephone,
    ),
    (r"(?<![\w.-])(?![0-9]{2}0-[0-9]{3}0)[0-9]{3}-[0-9]{4}(?![\w-])", _telephone),
    # signs between numbers, and before them
    (rf"(?<=[0-9]) - (?={NUMBER} ?=)", " minus "),
    (rf"(?<=[0-9]:[0-9]{{2}}) ?[-\u2013] ?(?=[0-9]{{1,2}}(?::[0-9]|{HALF}))", " to "),
    (r"(?<=[0-9][ap]m)[-\u2013](?=[0-9])", " to "),
    (
        rf"(?<![\w.:/-])({SIGN}?)({NUMBER})(-| ?\u2013 ?| - )\1?({NUMBER})(?![0-9]|[-.,:/][0-9])",
        _range,
    ),
    (r"(?<=[0-9])\^(?=-?[0-9])", " to the power of "),
    (r"(?<=\S )([+=@\xd7\xf7\u2212]|(?<=[0-9] )[x*](?= [0-9]))(?= \S)", _entry(OPERATORS)),
    (rf"(?<=[0-9])([+=*\xd7\xf7]|(?<!\b0)x)(?=-?{SIGN}?[0-9])", _entry(OPERATORS, " {} ")),
    (r"(?<=[0-9])([+x])(?!\w)", _entry(OPERATORS, " {}")),
    (rf"(?<=\w)(?={LESS})", " "),
    (LESS, "less than "),
    (rf"(?<!\S)\+(?={SIGN}?[0-9])", "plus "),
    (rf"(?<![\w)\]%.,-])[-\u2212](?={SIGN}?[0-9])", "minus "),
    (r"(?<!\w)v(?=[0-9]{1,6}(?:\.[0-9]{1,6})*(?!\w))", "version "),
    (r"(?<![\w.])[0-9]{1,6}(?:\.[0-9]{1,6}){2,}(?!\w)", _version),
    (rf"(?<![\w~])~(?={SIGN}?[0-9])", "about "),
    (rf"(?<=[0-9])/(?=(?:{SPANS})(?!\w))", " per "),
    (rf"(?<!\w)({_any(NUMBERED)})\.[ \n]?(?=[0-9])", _entry(NUMBERED, "{} ")),
    (r"(?<!\w)#(?=[0-9]{1,9}(?!\w))", "number "),
    # dates and times
    (rf"(?<!\w)({DAY})\.(?=,?[ \n](?:[0-9]|at |{MONTH}))", _entry(DAY_NAMES)),
    (rf"(?<!\w)({DAY})(?=, (?:[0-9]|{MONTH}))", _entry(DAY_NAMES)),
    (
        rf"(?<![\w.,:/])([Tt]he )?([0-9]{{1,2}}) ({MONTH})(\.?)(?![ \n][0-9]{{1,2}}(?!\w))",
        _day_first,
    ),
    (
        rf"(?<!\w)({MONTH})\.?[ \n]([0-9]{{1,2}}){NTH}?(?: to ([0-9]{{1,2}}){NTH}?)?"
        r"(?![\w:]|[.,][0-9])(?:(,?[ \n])([12][0-9]{3})(?!\w))?",
        _date,
    ),
    (rf"(?<!\w)({MONTH})\.?(,?[ \n])([12][0-9]{{3}})(?!\w)", _month),
    (
        r"(?<![\w:.,])(?P<hour>[0-9]{1,2}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?"
        rf"(?:{HALF}|(?![\w:]))",
        _time,
    ),
    (rf"(?<![\w:.,])(?P<hour>[0-9]{{1,2}})(?P<minute>)(?P<second>){HALF}", _time),
    (r"(?<=[0-9]):(?=[0-9])", " to "),
    (r"(?<!\w)((?:1[1-9]|20)[0-9]0)s(?!\w)", _decade),
    (r"(?i:(?<=the )|(?<=his )|(?<=her )|(?<=heir )|(?<=my )|['\u2019])([2-9]0)s(?!\w)", _decade),
    # amounts
    (rf"(?<=\w)(?={SIGN}[0-9])", " "),
    (rf"(?P<sign>{SIGN}) ?(?P<number>{NUMBER}){SCALE}(?!\w|\.[0-9])", _money),
    (rf"(?<!\w)(?P<number>{NUMBER}) ?(?P<sign>{SIGN})(?P<scale>)(?!\w)", _money),
    (r"(?<=[0-9]) ?%(?!\w)", " percent"),
    (rf"(?<![\w/])([0-9][0-9,]{{0,12}}){NTH}(?!\w)", _nth),
    (
        rf"(?<![\w/.,])(?:([0-9]{{1,3}}) )?([0-9]{{1,2}})/([0-9]{{1,3}})(?: ?{UNIT})?(?![\w/])",
        _fraction,
    ),
    (r"(?<=[0-9])/(?=[0-9])", " slash "),
    (r"(?<=[0-9]\xb0) (?=[CF](?!\w))", ""),
    (rf"(?<!\w)({NUMBER})([ \n-]?){UNIT}", _measure),
    # years, and the numbers left
    (
        rf"(?i:(?<!\w)(?:{_any(YEAR_WORDS.split())})[ \n-]){YEAR}(?:(?: to | and | or |-){YEAR})?"
        rf"|\({YEAR}\)|(?<!\w){YEAR}(?=['\u2019]s(?!\w))|(?<![^\n]){YEAR}(?=[.:])",
        _years,
    ),
    (rf"{ALONE}{NUMBER}(?!\w|\.[0-9])", _bare),
    (rf"{ALONE}[0-9]+(?:\.[0-9]+)?(?!\w)", _bare),  # of any length
    # abbreviations
    (rf"(?<!\w)St\.(?=[ \n](?!(?:{'|'.join(OPENERS.split())})\b)[A-Z])", "Saint"),
    (rf"(?<![\w./])({_any(BEFORE)})\.(?![\w.])", _before),
    (rf"(?<![\w./])({_any(AFTER)})\.(?![\w.])", _after),
    (r"(?<![\w./])vs(?![\w/]|\.\w)", "versus"),
    (r"(?<![\w./])etc(?![\w/]|\.\w)", "et cetera"),
    (r"(?<=[\w<])(?=&)", " "),
    (r"(?<!&)&++(?=\w)", "and "),
    (r"&+", "and"),
]
RULES = [(re.compile(pattern), say) for pattern, say in PATTERNS]
