"""Text to token ids and back, by the checkpoint's `tokenizer.json` (the `tokenizers` library)."""

from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers.decoders import DecodeStream

from lfm2audio_mlx.errors import CheckpointError, RequestError
from lfm2audio_mlx.tokens import SPECIAL_TOKEN_NAMES, SpecialTokens

__all__ = ["TextStream", "Tokenizer"]


class Tokenizer:
    """Encodes words as words: a `<|im_end|>` in somebody's text stays text, and ends no turn."""

    def __init__(self, folder: Path):
        """Read `folder/tokenizer.json`.

        Raises:
            CheckpointError: it is missing, unreadable, or lacks a special token.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(f"{path}: not there")
        try:
            self._backend = Backend.from_file(str(path))
        except Exception as error:  # the library raises no narrower one
            raise CheckpointError(f"{path}: not a tokenizer: {error}") from error
        self._backend.encode_special_tokens = True
        ids: dict[str, int] = {}
        for field, name in SPECIAL_TOKEN_NAMES.items():
            number = self._backend.token_to_id(name)
            if number is None:
                raise CheckpointError(f"{path}: the special token {name} is missing")
            ids[field] = number
        self.special = SpecialTokens(**ids)

    @property
    def size(self) -> int:
        """How many ids there are, special ones included: the largest id plus one."""
        return max(self._backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of plain text, no special tokens added or recognised.

        Raises:
            RequestError: the text holds half a character (an argument that is no UTF-8).
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RequestError(f"the text is not valid Unicode: {error.reason}") from error
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens left out."""
        return self._backend.decode(ids, skip_special_tokens=True)

    def stream(self) -> "TextStream":
        """A decoder for ids that come one by one."""
        return TextStream(self._backend)


class TextStream:
    """Gives text as ids arrive, never a part of a character."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """The characters that this id completes, often one word, sometimes none."""
        return self._stream.step(self._backend, token) or ""
