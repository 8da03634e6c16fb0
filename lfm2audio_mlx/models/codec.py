"""What the two speech decoders have in common: codes in, waveform out, frame by frame."""

from typing import Any, Protocol

import mlx.core as mx

from lfm2audio_mlx.errors import RequestError

__all__ = ["Codec", "check_codes"]


class Codec(Protocol):
    """A streaming decoder; any split of the frames into calls gives the same waveform."""

    sample_rate: int
    frame_size: int
    codebook_size: int

    def decode(
        self, codes: mx.array, state: Any = None, checked: bool = False
    ) -> tuple[mx.array, Any]:
        """codes [B, codebooks, T] after those in `state` -> samples [B, n], next state.

        Codes that the caller has `checked` are not read back, which would wait for the device.

        Raises:
            RequestError: a code is not in the tables.
        """
        ...

    def flush(self, state: Any) -> mx.array:
        """The samples [B, n] that were held back for frames that will not come."""
        ...


def check_codes(codes: mx.array, size: int) -> None:
    """Refuse codes outside tables of `size` rows, where the next codebook's would be read.

    Raises:
        RequestError: a code is out of range, an end-of-audio frame among them.
    """
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < size:
        raise RequestError(f"an audio code is outside 0...{size - 1}: it has no sound")
