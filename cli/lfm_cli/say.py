"""`lfm say`: text in, speech out, to a file or the loudspeaker."""

from typing import Annotated

import typer

from lfm2audio_mlx.errors import RequestError
from lfm_cli.model import ModelOption, open_engine
from lfm_cli.options import OutputOption, SeedOption

__all__ = ["say"]


def say(
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to say.")],
    output: OutputOption = None,
    voice: Annotated[
        str | None, typer.Option("--voice", "-v", metavar="VOICE", help="For example us-male.")
    ] = None,
    seed: SeedOption = None,
    model: ModelOption = None,
) -> None:
    """Speak a text aloud, or into a file.

    Example: lfm say "turn on the kitchen light" -o light.wav
    """
    from lfm2audio_mlx.audio.files import check_output
    from lfm_cli.sound import sound_sink

    if output:
        check_output(output)
    engine = open_engine(model)
    pieces = engine.say(" ".join(text), voice=voice, seed=seed)
    with sound_sink(output, engine.codec.sample_rate) as play:
        spoken = False
        for piece in pieces:
            play(piece.samples)
            spoken = True
        if not spoken:
            raise RequestError("the model spoke nothing; is the text of a kind that it knows?")
