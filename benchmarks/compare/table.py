"""The tables that a person reads."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.compare.figures import Figures, Results
from benchmarks.compare.targets import Verdict

__all__ = ["show"]


def show(results: Results, verdicts: Sequence[Verdict]) -> None:
    """Print every figure beside the peers', the targets, and what is missing."""
    Console(width=120).print(
        Group(_figures(results), _targets(verdicts), *_remarks(results)), soft_wrap=False
    )


def _figures(results: Results) -> Table:
    table = Table("figure", "ours", title="Medians; in brackets, how many times ours takes or has")
    peers = [peer for peer in results.peers.values() if not peer.reason]
    for peer in peers:
        table.add_column(peer.name, justify="right")
    table.columns[1].justify = "right"
    names = dict.fromkeys(name for f in (results.ours, *peers) for name in f.values)
    for name in names:
        cells = [_theirs(results, peer, name) for peer in peers]
        table.add_row(name, _number(results.ours.values.get(name), name), *cells)
    return table


def _theirs(results: Results, peer: Figures, name: str) -> str:
    ratio = results.ratio(name, peer.name)
    text = _number(peer.values.get(name), name)
    return f"{text} ({1 / ratio:.2f})" if ratio else text


def _number(value: float | None, name: str) -> str:
    if value is None:
        return ""
    if name.startswith("launches"):
        return f"{value:,.0f}"
    counted = any(word in name for word in ("GB", "syncs", "batch", "turns", "cores"))
    if counted:
        return f"{value:.3g}"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _targets(verdicts: Sequence[Verdict]) -> Table:
    table = Table("target", "wanted", "found", "stands", title="Targets")
    for verdict in verdicts:
        found = "" if verdict.value is None else f"{verdict.value:.3g}"
        if verdict.target.beside and verdict.value:
            found = f"1/{1 / verdict.value:.1f}" if verdict.value < 1 else f"{verdict.value:.2f}"
        style = {True: "green", False: "red", None: "dim"}[verdict.met]
        words = Text(verdict.words, style=style)
        table.add_row(verdict.target.figure, verdict.target.wanted, found, words)
    return table


def _remarks(results: Results) -> list[RenderableType]:
    """What each engine is, and what it lacks, a line each."""
    lines: list[RenderableType] = []
    for figures in (results.ours, *results.peers.values()):
        if figures.reason:
            lines.append(Text(f"{figures.name} is missing: {figures.reason}", style="yellow"))
            continue
        about = {key: value for key, value in figures.about.items() if key != "stages"}
        versions = about.pop("versions", {})
        parts = [*(f"{key} {value}" for key, value in versions.items())]
        parts += [f"{key} {value}" for key, value in about.items()]
        lines.append(Text(f"{figures.name}: {', '.join(parts)}", style="dim"))
        lines += [Text(f"  no {key}: {why}", style="dim") for key, why in figures.missing.items()]
    return lines
