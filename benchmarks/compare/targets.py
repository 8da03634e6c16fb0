"""What ours is to reach, and by how much it does or does not."""

from dataclasses import dataclass

from benchmarks.compare.figures import Results

__all__ = ["TARGETS", "Target", "Verdict", "judge"]


@dataclass(frozen=True)
class Target:
    """A limit on a figure of ours or, with `beside`, on ours over that peer's.

    Ratios of times are those of MLX's CPU backend, where the same mode is a choice (`cpu`); on
    another device they are shown and not judged.
    """

    figure: str
    limit: float
    beside: str = ""
    at_least: bool = False
    cpu: bool = False

    @property
    def wanted(self) -> str:
        """In words."""
        bound = "at least" if self.at_least else "at most"
        if not self.beside:
            return f"{bound} {self.limit:g}"
        share = f"1/{1 / self.limit:g}" if self.limit < 1 else f"{self.limit:g}"
        return f"{bound} {share} of {self.beside}"


@dataclass(frozen=True)
class Verdict:
    """`value` beside the target; None of it if something is missing. `met` is None if unjudged."""

    target: Target
    value: float | None
    met: bool | None

    @property
    def words(self) -> str:
        """How it stands, a miss with how far it is from the limit."""
        if self.value is None:
            return "not measured"
        if self.met is None:
            return "not judged on this device"
        if self.met:
            return "met"
        limit = self.target.limit
        if self.target.at_least:
            return f"missed: {self.value / limit:.0%} of what is wanted"
        return f"missed: {self.value / limit:.2f} times the limit"


def _times(figure: str, divisor: float, peer: str = "mlx-audio") -> Target:
    return Target(figure, 1 / divisor, beside=peer, cpu=True)


TARGETS = (
    Target("launches, backbone step", 215),
    Target("launches, depth frame", 820),
    Target("launches, codec frame", 120),
    Target("host syncs per audio frame", 1),
    _times("depth frame", 3),
    _times("text token", 3),
    _times("prefill 75 positions", 40),
    _times("encode 4 s", 4),
    _times("codec frame", 8),
    _times("codec frame", 1, "rustymimi"),
    _times("first audio, nothing prepared", 15),
    Target("transcription, batch 8 over batch 1", 3, at_least=True),
    Target("peak memory, quantised mode, GB", 1.1),
    Target("turns with nothing left to compute", 0.9, at_least=True),
)


def judge(results: Results, target: Target) -> Verdict:
    """How ours stands beside a target."""
    figure = target.figure
    ratio = results.ratio(figure, target.beside) if target.beside else None
    value = ratio if target.beside else results.ours.values.get(figure)
    if value is None or (target.cpu and results.ours.about.get("device") != "cpu"):
        return Verdict(target, value, None)
    return Verdict(
        target, value, value >= target.limit if target.at_least else value <= target.limit
    )
