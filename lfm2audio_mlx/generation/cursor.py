"""Where a conversation stands in the backbone."""

from dataclasses import dataclass, field

import mlx.core as mx

from lfm2audio_mlx.errors import ContextError
from lfm2audio_mlx.generation.prompt import Segment, embed, length
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.models.lfm2 import LayerState, Lfm2State
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.tokens import Modality

__all__ = ["Cursor"]

PREFILL_CHUNK = 128
"""Positions that go through the backbone at once: bounds the memory of a long prefill, and is three
times what keeps a GPU busy with arithmetic while it reads the weights."""

BUCKET = 16
"""More positions than half of these are filled up to a multiple of them: few shapes, so that memory
stays flat, and the ones that matrix products are fast in. A GPU computes 32 rows at once anyway;
OpenBLAS takes a quarter less time for 80 than for 75."""


@dataclass
class Cursor:
    """Where a conversation stands: what the backbone has seen, and what it is to see next.

    What was said waits in `pending` until a step needs it. So a turn that stops anywhere leaves
    the cursor whole, and the next turn appends to it: nothing that was seen is ever computed
    again.
    """

    context: int
    state: Lfm2State | None = None
    pending: list[Segment] = field(default_factory=list)
    _taps: tuple[LayerState, ...] | None = None
    """What takes a step back that was taken ahead."""

    @property
    def position(self) -> int:
        """How long the conversation is, pending parts included."""
        return (self.state.offset if self.state else 0) + length(self.pending)

    @property
    def size(self) -> int:
        """Bytes of the state."""
        return sum(array.nbytes for array in self.state.arrays) if self.state else 0

    def copy(self) -> "Cursor":
        """A snapshot that goes its own way, at no cost."""
        return Cursor(self.context, self.state, list(self.pending))

    def check(self, segments: list[Segment]) -> None:
        """Refuse what would not fit, before any work.

        Raises:
            ContextError: the conversation would be longer than the context.
        """
        wanted = self.position + length(segments)
        if wanted >= self.context:
            raise ContextError(
                f"the conversation needs {wanted:,} positions and room to answer, the model's "
                f"context holds {self.context:,}: start a new one, or use shorter recordings"
            )

    def extend(self, segments: list[Segment]) -> None:
        """Add what was said; see `check`."""
        self.check(segments)
        self.pending.extend(segments)

    def advance(self, model: Lfm2Audio) -> mx.array:
        """Run what is pending through the backbone -> the last hidden state [1, hidden]."""
        x = embed(model, self.pending)
        state, hidden, length = self.state, x, 1
        for start in range(0, x.shape[1], PREFILL_CHUNK):
            chunk = x[:, start : start + PREFILL_CHUNK]
            length = chunk.shape[1]
            hidden, state = model.lfm(_filled_up(chunk), state, length)
            if x.shape[1] > PREFILL_CHUNK:
                mx.eval(hidden)
        self.state, self.pending = state, []
        return hidden[:, length - 1]

    def settle(self, model: Lfm2Audio) -> None:
        """Run what is pending through the backbone now; what comes next finds it done."""
        mx.eval(self.advance(model))
        if self.state:
            mx.eval(self.state.arrays)

    def step_ahead(self, steps: Steps, modality: Modality, drawn: mx.array) -> mx.array:
        """See a word or frame that may turn out not to be said -> the hidden state [1, hidden].
        `keep` or `step_back` says how it was.

        The state before is let go, or its keys and values would have to be copied.
        """
        assert self.state and not self.pending
        self._taps = self.state.taps
        hidden, self.state = steps.backbone(modality, drawn, self.state)
        return hidden

    def keep(self) -> None:
        """The step ahead was right."""
        self._taps = None

    def step_back(self) -> None:
        """Undo the step ahead, if there was one that is not kept."""
        if self.state and self._taps is not None:
            self.state, self._taps = self.state.one_back(self._taps), None


def _filled_up(x: mx.array) -> mx.array:
    """[1, T, hidden] with zeros after it, up to a whole number of buckets."""
    missing = -x.shape[1] % BUCKET if 2 * x.shape[1] > BUCKET else 0
    return mx.pad(x, [(0, 0), (0, missing), (0, 0)]) if missing else x
