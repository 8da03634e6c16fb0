"""What is spoken for text: every kind of number, markdown gone, plain words left in peace."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.text.markdown import plain
from lfm2audio_mlx.text.spoken import spoken

NUMBERS = {
    "7": "seven",
    "0": "zero",
    "1,234,567": "one million two hundred thirty four thousand five hundred sixty seven",
    "101 dogs, 110 cats.": "one hundred one dogs, one hundred ten cats.",
    "3.14 and 0.05 and .5": "three point one four and zero point zero five and zero point five",
    "1,234.50": "one thousand two hundred thirty four point five zero",
    "-5 and \N{MINUS SIGN}3.5": "minus five and minus three point five",
    "1,2,3.": "one,two,three.",
    "50% of 5.5 %": "fifty percent of five point five percent",
    "1st 2nd 3RD 23rd 101st": "first second third twenty third one hundred first",
    "24/7": "twenty four seven",
    "~5 and <5 and 10+": "about five and less than five and ten plus",
    # digit by digit
    "Code 007": "Code zero zero seven",
    "1234567": "one two three four five six seven",
    "1000000": "one million",
    "555-1234": "five five five, one two three four",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "+44 20 7946 0958": "plus four four, two zero, seven nine four six, zero nine five eight",
    "500-1000": "five hundred to one thousand",
    # versions
    "1.2.3": "one point two point three",
    "v2.0.1, v3": "version two point zero point one, version three",
    # ranges, scores, differences
    "10-20": "ten to twenty",
    "pp. 5\N{EN DASH}10": "pages five to ten",
    "a 3-1 win": "a three-one win",
    "5 - 3, 3 - 2 = 1": "five minus three, three minus two equals one",
    "1-2-3, 05-12": "one-two-three, zero five-twelve",
    "10-20-year plans": "ten to twenty-year plans",
    # fractions
    "1/2 3/4 2/3": "one half three quarters two thirds",
    "1 1/2 cups, 2\N{VULGAR FRACTION ONE QUARTER}": "one and a half cups, two and one quarter",
    "11/20": "eleven slash twenty",
    # arithmetic
    "2+2=4": "two plus two equals four",
    "2 + 2 = 4": "two plus two equals four",
    "x = a + b": "x equals a plus b",
    "2 * 3 * 4": "two times three times four",
    "2*3*4": "two times three times four",
    "3x4, 3 \N{MULTIPLICATION SIGN} 4, 5x": "three times four, three times four, five times",
    "10^-6": "ten to the power of minus six",
    # not numbers for us
    "MP3 4K 3D B2B 5G 0x10 LFM2.5": "MP3 4K 3D B2B 5G 0x10 LFM2.5",
    "COVID-19": "COVID-nineteen",
}
MONEY = {
    "$1": "one dollar",
    "$3.50": "three dollars and fifty cents",
    "$3.00": "three dollars",
    "$0.99": "ninety nine cents",
    "\N{POUND SIGN}1.01": "one pound and one penny",
    "\N{POUND SIGN}2.50": "two pounds and fifty pence",
    "\N{EURO SIGN}3.50": "three euros and fifty cents",
    "5 \N{EURO SIGN}": "five euros",
    "\N{YEN SIGN}500": "five hundred yen",
    "$2.5 million": "two point five million dollars",
    "$5k": "five thousand dollars",
    "$5 T-shirts": "five dollars T-shirts",
    "-$5": "minus five dollars",
    "$10-20, $10-$20": "ten to twenty dollars, ten to twenty dollars",
    "$1,000,000.": "one million dollars.",
    "US$5 at $3/month": "US five dollars at three dollars per month",
    "$5 mbillion": "five dollars mbillion",
}
TIMES = {
    "5:30": "five thirty",
    "5:05": "five oh five",
    "5:00": "five o'clock",
    "17:00": "seventeen hundred",
    "17:30": "seventeen thirty",
    "5pm, 5:30 PM": "five PM, five thirty PM",
    "at 5 p.m. today": "at five PM today",
    "at 5 p.m. Then": "at five PM. Then",
    "It was 5 a.m.": "It was five AM.",
    "9am-5pm": "nine AM to five PM",
    "9:00-17:00": "nine o'clock to seventeen hundred",
    "10:05:30": "ten oh five and thirty seconds",
    "3:1": "three to one",
    "in 1984": "in nineteen eighty four",
    "It was in\n1984. Then it ended.": "It was in\nnineteen eighty four. Then it ended.",
    "since 2026, by 2005": "since twenty twenty six, by two thousand five",
    "(1905)": "(nineteen oh five)",
    "1914-1918": "nineteen fourteen to nineteen eighteen",
    "between 1914 and 1918": "between nineteen fourteen and nineteen eighteen",
    "1984's best": "nineteen eighty four's best",
    "the 1980s and the 90s": "the nineteen eighties and the nineties",
    "1984 sheep": "one thousand nine hundred eighty four sheep",
    "in 1,984 ways": "in one thousand nine hundred eighty four ways",
    "Nov. 20, 2026": "November twentieth, twenty twenty six",
    "2026-11-20": "November twentieth, twenty twenty six",
    "March 5th": "March fifth",
    "May 3-5": "May third to fifth",
    "Sept. 1999": "September nineteen ninety nine",
    "on 20 Nov. 2026": "on the twentieth of November twenty twenty six",
    "the 4 July": "the fourth of July",
    "11/20/2026": "eleven slash twenty slash twenty twenty six",
    "Mon. 5 May": "Monday the fifth of May",
    "in the Sun. Then": "in the Sun. Then",
    "She may. 5 did.": "She may. five did.",
}
UNITS = {
    "5 km": "five kilometers",
    "1 kg": "one kilogram",
    "a 5-km run": "a five kilometer run",
    "3cm 2 mm": "three centimeters two millimeters",
    "5 m. Then": "five meters. Then",
    "6 ft. tall": "six feet tall",
    "1/2 km": "one half kilometer",
    "20\N{DEGREE SIGN}C": "twenty degrees Celsius",
    "-1 \N{DEGREE SIGN}C": "minus one degree Celsius",
    "68\N{DEGREE SIGN} F": "sixty eight degrees Fahrenheit",
    "8 GB, 512MB": "eight gigabytes, five hundred twelve megabytes",
    "60 mph, 100 km/h": "sixty miles per hour, one hundred kilometers per hour",
    "5-10 km": "five to ten kilometers",
    "I am m and km": "I am m and km",
}
ABBREVIATIONS = {
    "Mr. and Mrs. Fox": "Mister and Missus Fox",
    "Ms. Doe, Dr. Who, Prof. X": "Ms Doe, Doctor Who, Professor X",
    "I saw the Dr.": "I saw the Doctor.",
    'He said "the Dr."': 'He said "the Doctor."',
    "in St. Louis": "in Saint Louis",
    "Main St. is": "Main Street is",
    "Main St. Then": "Main Street. Then",
    "on Main St.": "on Main Street.",
    "apples, etc. and": "apples, et cetera and",
    "apples, etc. Then": "apples, et cetera. Then",
    "apples, etc.": "apples, et cetera.",
    "Cats vs. Dogs vs bees": "Cats versus Dogs versus bees",
    "fruit, e.g. apples": "fruit, for example apples",
    "E.g., this, i.e. that": "For example, this, that is that",
    "approx. 5": "approximately five",
    "No. 5 is #1": "number five is number one",
    "He said no. I said No. Never.": "He said no. I said No. Never.",
    "Fig. 2, Vol. 3, p. 4": "figure two, volume three, page four",
    "R&D, you & me": "R and D, you and me",
    "/etc/hosts": "/etc/hosts",
    "the U.S. army": "the U.S. army",
}
ADDRESSES = {
    "bob.smith@example.com": "bob dot smith at example dot com",
    "See https://www.example.com/a/b?c=d.": "See example dot com.",
    "(http://x.org)": "(x dot org)",
    "<https://x.org>": "x dot org",
    "www.foo.de and example.com/x": "foo dot de and example dot com",
    "http://localhost:8000/": "localhost",
    "Node.js and main.py": "Node.js and main.py",
}
MARKDOWN = {
    "# Title\n\nText *em* **bold** ~~gone~~.": "Title.\n\nText em bold gone.",
    "Title\n===\n\nWhat?\n-----\n\ntext": "Title.\n\nWhat?\n\ntext",
    "[a link](http://x.com/y) ![a cat](cat.png)": "a link a cat",
    "[this][1]\n\n[1]: http://x.com": "this",
    "Use `x` and `<div>`": "Use x and div",
    "Run:\n\n```sh\nrm -rf\n```\n\nDone": "Run:\n\nDone",
    "- apples\n- pears!\n  - williams\n- figs": "apples.\npears!\nwilliams.\nfigs.",
    "- [ ] todo\n- [x] done": "todo.\ndone.",
    "\N{BULLET} one fish\n\N{BULLET} two fish": "one fish.\ntwo fish.",
    "1. Wash\n1. Dry": "one: Wash.\ntwo: Dry.",
    "| a | b |\n|---|---|\n| c | *d* |\n| | e |": "a, b.\nc, d.\ne.",
    "> said\n> he": "said\nhe",
    "one\n\n***\n\ntwo": "one\n\ntwo",
    "<p>x<br>y</p><!-- no\n\nno --> z <b>w</b>s": "x y z ws",
    "AT&amp;T \\*": "AT and T *",
    "&amp;amp;amp;lt; &.com": "< and dot com",
    "text[^1].\n\n[^1]: A note.": "text.\n\nA note.",
    "# \u898b\u51fa\u3057\n\n- \u9805\u76ee": "\u898b\u51fa\u3057\u3002\n\n\u9805\u76ee\u3002",
}
PLAIN = [
    "",
    "Hello, world! It's fine: he said \u201cno\u201d \N{EM DASH} twice (really)... Is it?",
    "snake_case_name, C# and F#, I <3 you, a < b and c > d, C++.",
    "One paragraph\nof two lines.\n\nAnother one.",
    "[Alice]: Hello.\n\n[Bob]: Hi.",
    "Caf\u00e9 na\u00efve \u00dcber \u0141\u00f3d\u017a.",
    "\u4eca\u65e5\u306f2026\u5e74\u3001\u4fa1\u683c\u306f 500 \u5186\u3067\u3059\u3002",
    "\u0645\u06cc\u200c\u0631\u0648\u0645 \u0663.",
    "\u0426\u0435\u043d\u0430 500 \u0440\u0443\u0431.",
]
CLEANED = {
    "    a poem\n      indented\n\n    by four": "a poem\nindented\n\nby four",
    "    a *poem*\n      indented": "a poem\nindented",
    "one\r\ntwo\x00three\ud800four": "one\ntwo three four",
    "so\u00adft \ufeffand\u200b": "soft and",
    "Great \U0001f600! a\U0001f600b \N{HEAVY BLACK HEART}\ufe0f": "Great! a b",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 family": "family",
    "- \U0001f680 item": "item.",
    "1984. Then it ended.": "nineteen eighty four. Then it ended.",
    "42.": "forty two.",
    "one\n\n\n\ntwo   three ": "one\n\ntwo three",
}
TABLES = (NUMBERS, MONEY, TIMES, UNITS, ABBREVIATIONS, ADDRESSES, MARKDOWN, CLEANED)
EXAMPLES = [pair for table in TABLES for pair in table.items()] + [(text, text) for text in PLAIN]

PIECES = r"""
1 2 3 05 12 17 20 1984 2026 1,000 1234567 3.5 $ % . , : ; / - + = x * ** _ ` ``` ~~ # ( ) [ ] < >
& &amp; | \ ! ? ' " F km m ft s th st nd am p.m. Mr. Dr. St. etc. etc vs e.g. No. ^ ~ @ May Nov.
Sun. Mon in the to and A a v www. http:// .com <b> </b> <!-- -->
"""
STRANGE = [
    "\n",
    "\n\n",
    "    ",
    *"\u20ac\xbd\xb0\u2013\xe9\u65e5\u672c\ud800\0\u200b\U0001f600\u2022",
]
MIXED = st.lists(st.sampled_from([*PIECES.split(), *STRANGE, *[" "] * 9]), max_size=14).map("".join)
ANY = st.text(st.characters(), max_size=60)  # half characters too

WORDS = "the cat sat on a mat with Anna and no other Thing it's I we'll"
STOPS = st.sampled_from([" "] * 6 + [", ", ". ", "! ", "? ", "; ", ": ", " \N{EM DASH} ", "\n\n"])
PROSE = (
    st.lists(st.tuples(st.sampled_from(WORDS.split()), STOPS).map("".join), max_size=20)
    .map("".join)
    .map(str.strip)
)

HOSTILE = r"""
1 1. 1, 1- 1/ 1: 1,111, 1.1 $1 a. a@ a.b@ http:// http://a/. www. a- <!-- [ ![ [^ [a]( ` ~1 * _a >
< & &amp; Mr. \ 0x1 1^ x1 <a
"""
HOSTILE_LINES = ["1 ", "1\n\n", "- a\n", "1. a\n", "|a|b|\n|-|-|\n", " ", "\n", "[a]: x\n", "a & "]
HOSTILE_SIGNS = ["\u201c", "\U0001f600", "\xbd", "\u65e5", "\ud800", "May 1 ", "in 1984 "]


@pytest.mark.parametrize(("text", "said"), EXAMPLES)
def test_what_is_said_for_it_and_that_saying_that_changes_nothing(text: str, said: str):
    assert spoken(text) == said
    assert spoken(said) == said


@settings(max_examples=300)
@given(st.one_of(MIXED, ANY))
def test_any_text_is_said_and_said_again_the_same(text: str):
    said = spoken(text)
    assert spoken(said) == said
    assert plain(said) == said


@settings(max_examples=100)
@given(PROSE)
def test_prose_stays_as_it_is(text: str):
    assert spoken(text) == text


@settings(max_examples=200)
@given(MIXED)
def test_nothing_invisible_is_left(text: str):
    assert not set(spoken(text)) & set("\x00\ud800\u200b\U0001f600\t\r")


def test_a_number_of_ten_thousand_digits_is_read_digit_by_digit():
    assert spoken("12" * 5000) == " ".join(["one", "two"] * 5000)
    assert spoken("0." + "5" * 5000).endswith(" five five")
    assert spoken("1" + ",000" * 5000)


@pytest.mark.slow
@pytest.mark.parametrize("piece", [*HOSTILE.split(), *HOSTILE_LINES, *HOSTILE_SIGNS])
def test_time_grows_with_the_length_whatever_the_text(piece: str):
    """100,000 characters: tens of minutes if anything looks at every pair of them."""
    text = (piece * (100_000 // len(piece) + 1))[:100_000]
    start = time.monotonic()
    spoken(text)
    assert time.monotonic() - start < 60, "seconds; a busy machine needs ten"


@pytest.mark.slow
def test_a_megabyte_of_prose_takes_seconds():
    text = "The quick brown fox, *really* quick, jumped over 12 dogs in 1984.\n\n" * 15_000
    start = time.monotonic()
    assert spoken(text).count("twelve dogs in nineteen eighty four.") == 15_000
    assert time.monotonic() - start < 60
