"""Turns the source MLX generates for a Metal kernel into C++ for the machine."""

import re
from dataclasses import dataclass

_WORD = re.compile(r"\bthreadgroup\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_TYPE = re.compile(r"\s*(?:(?:const|volatile|alignas\([^()]*\))\s+)*[A-Za-z_][\w:]*")
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*")
_SWIZZLE = re.compile(r"\.(xyz|yzw|xy|yx|yz|xz|zw)\b(?!\s*\()")
_LITERAL = re.compile(r"(?<![\w.])(\d+\.\d*|\.\d+|\d+)((?:[eE][+-]?\d+)?)(h|H|bf|BF)\b")
_PARAMETER = re.compile(r"^(?P<type>.+?)\s*(?P<name>\w+)\s*\[\[(?P<attribute>\w+)(?:\(\d+\))?\]\]$")
_HOST_NAME = re.compile(r'^template\s*\[\[host_name\("[^"]*"\)\]\].*?decltype\((.*)\)', re.DOTALL)


class SourceError(ValueError):
    """The source cannot be a Metal kernel."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: a buffer, or an attribute of the thread."""

    type: str
    name: str
    attribute: str

    @property
    def is_buffer(self) -> bool:
        return self.attribute == "buffer"


@dataclass(frozen=True)
class Kernel:
    """A kernel in C++: the text to compile and the parameters its caller fills."""

    text: str
    parameters: tuple[Parameter, ...]


def translate(source: str) -> Kernel:
    """The C++ of one kernel, to stand behind `metal.h`. Lines keep their numbers.

    Raises:
        SourceError: there is no kernel in the source, or it uses what Metal lacks.
    """
    bare = _COMMENT.sub(_blank, source)
    if match := re.search(r"\b(double|virtual|goto|try|throw|new|delete)\b(?!\s*;)", bare):
        line = bare.count("\n", 0, match.start()) + 1
        raise SourceError(f"kernel.metal:{line}: Metal has no '{match[1]}'")
    start = re.search(r"(?:\[\[\s*kernel\s*\]\]|\bkernel)\s+void\s+(\w+)\s*\(", bare)
    if start is None:
        raise SourceError("no [[kernel]] function in the source")
    name = start[1]
    end = _closing(bare, start.end() - 1)
    parameters = tuple(_parameter(p) for p in _split(bare[start.end() : end]))
    called = name
    for at in re.finditer(r"^template\s*\[\[host_name", bare, re.MULTILINE):
        if found := _HOST_NAME.match(bare[at.start() :]):
            called = found[1]
            bare = bare[: at.start()] + "\n"
            break
    _forbid(bare, parameters, range(end, _closing(bare, bare.index("{", end))))
    text = _arrays(bare)
    text = re.sub(r"\[\[\s*\w+(?:\([^()]*\))?\s*\]\]", "", text)
    text = re.sub(r"\bkernel\s+(?=void\b)", "", text)
    text = re.sub(r"\bconst\s+constant\b|\bconstant\s+const\b", "constant", text)
    text = _SWIZZLE.sub(r".\1()", text)
    text = _LITERAL.sub(_literal, text)
    return Kernel(
        f'{text}\n#line 1 "entry"\n{_entry(called, parameters)}',
        parameters,
    )


def _literal(match: re.Match[str]) -> str:
    """A number with a suffix C++ does not know."""
    return f"{'half' if match[3] in 'hH' else 'bfloat'}(float({match[1]}{match[2]}))"


def _forbid(text: str, parameters: tuple[Parameter, ...], body: range) -> None:
    """What Metal's compiler refuses and a C++ compiler does not."""
    attributes = {p.attribute for p in parameters}
    if {"thread_execution_width", "threads_per_simdgroup"} <= attributes:
        raise SourceError("Metal takes only one of thread_execution_width, threads_per_simdgroup")
    for word in _WORD.finditer(text):
        if word.start() not in body and (found := _declaration(text, word.end())):
            line = text.count("\n", 0, word.start()) + 1
            name = found[1][0][0]
            raise SourceError(
                f"kernel.metal:{line}: threadgroup '{name}' stands outside the kernel"
            )


def _blank(match: re.Match[str]) -> str:
    return " " + "\n" * match[0].count("\n")


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i
    raise SourceError("a bracket is not closed")


def _split(text: str) -> list[str]:
    """The parts between the commas, brackets respected."""
    parts, depth, begin = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
    return [part.strip() for part in [*parts, text[begin:]] if part.strip()]


def _parameter(text: str) -> Parameter:
    match = _PARAMETER.match(" ".join(text.split()))
    if match is None:
        raise SourceError(f"the kernel's parameter '{text}' is neither a buffer nor an attribute")
    return Parameter(**match.groupdict())


def _arrays(text: str) -> str:
    """Gives each threadgroup array its storage in the machine; other uses lose the word."""
    parts, begin, count = [], 0, 0
    for word in _WORD.finditer(text):
        if word.start() < begin:
            continue
        parts.append(text[begin : word.start()])
        begin = word.end()
        declaration = _declaration(text, word.end())
        if declaration is None:
            continue
        kind, declarators, begin = declaration
        for name, extents in declarators:
            count += 1
            parts.append(
                f"typedef {kind} machine_array_{count}{extents};"
                f" static const char machine_key_{count} = 0;"
                f" machine_array_{count}& {name} = *static_cast<machine_array_{count}*>("
                f'machine_threadgroup_array(&machine_key_{count}, "{name}",'
                f" sizeof(machine_array_{count}), sizeof({kind})));"
            )
        parts.append("\n" * text.count("\n", word.start(), begin))
    return "".join([*parts, text[begin:]])


def _declaration(text: str, at: int) -> tuple[str, list[tuple[str, str]], int] | None:
    """The element type, (name, extents) of each array, and the end of the declaration."""
    kind = _TYPE.match(text, at)
    if kind is None:
        return None
    end = kind.end()
    if text[end : end + 1] == "<":
        end = _closing_angle(text, end)
    element = text[at:end].strip()
    declarators: list[tuple[str, str]] = []
    while name := _NAME.match(text, end):
        end = name.end()
        extents = end
        while text[end : end + 1] == "[":
            end = _closing(text, end) + 1
            end += len(text[end:]) - len(text[end:].lstrip())
        declarators.append((name[1], text[extents:end].strip()))
        if text[end : end + 1] == ";":
            return element, declarators, end + 1
        if text[end : end + 1] != ",":
            return None
        end += 1
    return None


def _closing_angle(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "<") - (text[i] == ">")
        if depth == 0:
            return i + 1
    return start


def _entry(called: str, parameters: tuple[Parameter, ...]) -> str:
    """The function the machine calls for each thread."""
    arguments, buffers = [], 0
    for parameter in parameters:
        if not parameter.is_buffer:
            arguments.append(f"a.{parameter.attribute}")
            continue
        kind = parameter.type
        if kind.endswith("&"):
            pointer = f"({kind[:-1].strip()}*)b[{buffers}]"
            arguments.append(f"*{pointer}")
        else:
            arguments.append(f"({kind})b[{buffers}]")
        buffers += 1
    joined = ", ".join(arguments).replace("const constant", "constant")
    return (
        'extern "C" __attribute__((no_sanitize_thread)) void machine_kernel('
        "void* const* b, const machine::Attributes& a) {\n"
        f"  {called}({joined});\n}}\n"
    )
