"""What Homebrew asks of a formula, as data and small checks, for machines without Homebrew.

Drawn from the Formula Cookbook and from what `brew audit --strict` and `brew style` look at; only
what can go wrong in ours is here. Each check reads the formula's text and gives its faults.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

__all__ = ["RULES", "faults"]

ORDER = (
    "include",
    "desc",
    "homepage",
    "url",
    "sha256",
    "license",
    "head",
    "depends_on",
    "resource",
    "allow_network_access!",
    "def install",
    "def caveats",
    "service",
    "test",
)
"""Components in the order in which a formula has them; ours has all of them and no other."""

WIDTH = 118
LONGEST_DESC = 80
ARTICLES = ("a", "an", "the")
KEG_PATHS = ("bin", "libexec", "pkgshare", "prefix", "sbin", "share")
"""Paths with a version in them. A service that outlives an upgrade uses the opt_ ones."""
LICENSES = ("Apache-2.0",)
PYPI = r"https://files\.pythonhosted\.org/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/"
NEEDED_LIBRARIES = {"pyyaml": "libyaml", "bcrypt": "rust", "lxml": "libxml2", "pynacl": "libsodium"}
"""Resources that Homebrew lets nobody install without these."""


def top_level(text: str) -> list[str]:
    """The first word of each component, in order; of methods, `def` and the name."""
    lines = (line[2:] for line in text.splitlines() if re.match(r"  \S", line))
    found = (re.match(r"(def \w+|\w+!?)", line) for line in lines)
    return [word[1] for word in found if word and word[1] != "end"]


def block(text: str, opening: str) -> str:
    """A component's lines, without its first and its last."""
    found = re.search(rf"^  {opening}.*?\n(.*?)^  end$", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def _components(text: str) -> Iterator[str]:
    words = top_level(text)
    for word in words:
        if word not in ORDER:
            yield f"{word} is no component that we know the place of"
    known = [word for word in words if word in ORDER]
    for before, after in pairwise(known):
        if ORDER.index(before) > ORDER.index(after):
            yield f"{after} comes before {before}"
    for word in ORDER:
        count = known.count(word)
        if count != 1 and not (count > 1 and word in ("depends_on", "resource")):
            yield f"{word} is there {count} times"


def _class(text: str) -> Iterator[str]:
    if not text.startswith("class Lfm < Formula\n"):
        yield "lfm.rb holds the class Lfm"


def _desc(text: str) -> Iterator[str]:
    found = re.search(r'^  desc "(.*)"$', text, re.MULTILINE)
    desc = found[1] if found else ""
    if not 0 < len(desc) <= LONGEST_DESC:
        yield f"is {len(desc)} characters long"
    if desc.split(" ")[0].lower() in ARTICLES:
        yield "begins with an article"
    if desc.lower().startswith("lfm"):
        yield "begins with the formula's name"
    if not desc[:1].isupper():
        yield "begins with a small letter"
    if desc.endswith(".") or desc != desc.strip():
        yield "ends with a full stop, or has spaces around it"
    if not desc.isascii() or re.search(r"command ?line", desc, re.IGNORECASE):
        yield "has symbols, or a command-line without its hyphen"


def _homepage(text: str) -> Iterator[str]:
    found = re.search(r'^  homepage "(.*)"$', text, re.MULTILINE)
    if not found or not found[1].startswith("https://") or found[1].endswith("/"):
        yield "is an https address without a slash at its end"


def _license(text: str) -> Iterator[str]:
    found = re.search(r'^  license "(.*)"$', text, re.MULTILINE)
    if not found or found[1] not in LICENSES:
        yield "is one that SPDX lists, and ours"


def _archives(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for line, following in pairwise(lines):
        found = re.match(r'(\s+)url "(.*)"$', line)
        if found is None:
            continue
        indent, url = found[1], found[2]
        if not re.fullmatch(rf'{indent}sha256 "[0-9a-f]{{64}}"', following):
            yield f"{url}: 64 small hexadecimal digits of a sha256 follow"
        if len(indent) == 4 and not re.match(PYPI, url):
            yield f"{url}: is not the address that PyPI gives for a source archive"
        if not url.startswith("https://") or not url.endswith(".tar.gz"):
            yield f"{url}: is not a source archive by https"
    count = len(re.findall(r"^\s+sha256 ", text, re.MULTILINE))
    if count != len(re.findall(r"^\s+url ", text, re.MULTILINE)):
        yield f"{count} digests are not one for each address"


def _dependencies(text: str) -> Iterator[str]:
    keys: list[tuple[bool, str]] = []
    for line in re.findall(r"^  depends_on (.*)$", text, re.MULTILINE):
        name = re.match(r'"([^"]+)"|(?:arch|macos): :(\w+)', line)
        if name is None:
            yield f"{line}: a name in quotes, an arch or a macos"
            continue
        sorted_by = name[1] or ("arm64" if line.startswith("arch") else "macos")
        keys.append((not line.endswith("=> :build"), sorted_by))
    if keys != sorted(set(keys)):
        yield "tools come first, then the rest, each in alphabetical order and once"


def _resources(text: str) -> Iterator[str]:
    names = re.findall(r'^  resource "([^"]+)" do$', text, re.MULTILINE)
    if names != sorted(set(names)):
        yield "are in alphabetical order, each once"
    depended = re.findall(r'^  depends_on "([^"]+)"', text, re.MULTILINE)
    for name in names:
        if name != re.sub(r"[-_.]+", "-", name).lower():
            yield f"{name}: is not how PyPI writes it"
        if name in depended:
            yield f"{name}: is there as a formula too"
        if name in NEEDED_LIBRARIES and NEEDED_LIBRARIES[name] not in depended:
            yield f"{name}: needs {NEEDED_LIBRARIES[name]}"


def _install(text: str) -> Iterator[str]:
    body = block(text, "def install")
    if "virtualenv_install_with_resources" not in body:
        yield "makes an environment of its resources"
    if "generate_completions_from_executable" not in body:
        yield "makes completions"
    for word in ("pip install", "curl ", "sudo ", "ENV.deparallelize"):
        if word in body:
            yield f"{word.strip()} has no place there"


def _service(text: str) -> Iterator[str]:
    body = block(text, "service do")
    if not re.search(r"^    run \[opt_bin/", body, re.MULTILINE):
        yield "runs a program by a path without a version"
    for path in KEG_PATHS:
        if re.search(rf"(?<![\w_]){path}/", body):
            yield f"{path} has a version in it: opt_{path}"
    for word in ("keep_alive", "log_path", "error_log_path"):
        if word not in body:
            yield f"says no {word}"


def _test(text: str) -> Iterator[str]:
    body = block(text, "test do")
    told = [line for line in body.splitlines() if "--version" not in line and "--help" not in line]
    if not any("shell_output" in line for line in told):
        yield "runs more than --version"
    if not any(line.strip().startswith("assert") for line in told):
        yield "asserts something of what it printed"
    if "/usr/local" in body or "HOME" in body.replace("LFM_HOME", ""):
        yield "stays in the folder of the test"


def _caveats(text: str) -> Iterator[str]:
    body = block(text, "def caveats")
    if "lfm pull" not in body:
        yield "say how to get a model"
    if re.search(r"setuid|\\e\[|/opt/homebrew|/usr/local", body):
        yield "have no escapes, no setuid and no fixed prefix"


def _layout(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH and not re.match(r"\s+(url|homepage) ", line):
            yield f"line {number} has {len(line)} characters"
        if line != line.rstrip() or "\t" in line:
            yield f"line {number} has tabs, or spaces at its end"
        if re.search(r"(^|\s)'[^']*'(\s|$|,)", line):
            yield f"line {number} has single quotes"
        if (len(line) - len(line.lstrip())) % 2:
            yield f"line {number} is indented by an odd number"
    if "\n\n\n" in text or not text.endswith("end\n"):
        yield "two empty lines, or none of `end` and a newline at the end"


RULES: dict[str, Callable[[str], Iterator[str]]] = {
    "class": _class,
    "order of components": _components,
    "desc": _desc,
    "homepage": _homepage,
    "license": _license,
    "archives and digests": _archives,
    "dependencies": _dependencies,
    "resources": _resources,
    "install": _install,
    "caveats": _caveats,
    "service": _service,
    "test": _test,
    "layout": _layout,
}
"""Each rule by name; a check gives one line for each fault."""


def faults(text: str) -> dict[str, list[str]]:
    """What is wrong with a formula, by rule; nothing, if all is well."""
    found = {name: list(check(text)) for name, check in RULES.items()}
    return {name: lines for name, lines in found.items() if lines}
