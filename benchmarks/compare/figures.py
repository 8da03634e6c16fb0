"""What was found, and the ratios between engines."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Figures", "Results"]


@dataclass
class Figures:
    """Of one engine: `values` by figure, and why others are `missing`; `about`, its versions."""

    name: str
    values: dict[str, float] = field(default_factory=dict[str, float])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    reason: str = ""
    """Why there is nothing of it at all."""
    failed: bool = False
    """Something went wrong; what merely is not there is no failure."""
    runs: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, figure: str, runs: list[float]) -> None:
        """More runs of a stage; its value is the median of all."""
        self.runs.setdefault(figure, []).extend(runs)
        if self.runs[figure]:
            self.values[figure] = median(self.runs[figure])


@dataclass
class Results:
    """Of all engines; `pairs` keeps what ours took beside each peer: medians of the same minutes.

    `pairs[peer, figure]` is ours and the peer's.
    """

    ours: Figures
    peers: dict[str, Figures] = field(default_factory=dict[str, Figures])
    pairs: dict[tuple[str, str], tuple[float, float]] = field(
        default_factory=dict[tuple[str, str], tuple[float, float]]
    )

    def ratio(self, figure: str, peer: str) -> float | None:
        """Ours over the peer's; None if either lacks it."""
        if (peer, figure) in self.pairs:
            ours, theirs = self.pairs[peer, figure]
        else:
            found = self.peers.get(peer)
            ours, theirs = self.ours.values.get(figure), found and found.values.get(figure)
        return ours / theirs if ours is not None and theirs else None

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        engines = {figures.name: vars(figures) for figures in (self.ours, *self.peers.values())}
        ratios = {
            name: {figure: self.ratio(figure, name) for figure in sorted(figures.values)}
            for name, figures in self.peers.items()
        }
        return {"engines": engines, "ours over theirs": ratios}
