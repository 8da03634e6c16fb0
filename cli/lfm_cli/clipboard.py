"""The clipboard, by whatever the system has for it (`pyperclip`: pbcopy, wl-copy, xclip)."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnnecessaryComparison=false
# (pyperclip has no types.)

from lfm2audio_mlx.errors import RequestError

__all__ = ["check_clipboard", "copy_text"]


def check_clipboard() -> None:
    """Refuse before any work if nothing can be copied here.

    Raises:
        RequestError: the system has no clipboard that can be reached.
    """
    import pyperclip

    if not pyperclip.determine_clipboard()[0]:
        raise RequestError(
            "there is no clipboard here: pbcopy is part of macOS; on Linux install wl-clipboard "
            "or xclip"
        )


def copy_text(text: str) -> None:
    """Put a text on the clipboard.

    Raises:
        RequestError: that fails.
    """
    import pyperclip

    try:
        pyperclip.copy(text)
    except pyperclip.PyperclipException as error:
        raise RequestError(f"the clipboard cannot be written: {error}") from error
