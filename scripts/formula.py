"""Writes Formula/lfm.rb from `uv.lock`, so that a release is one command.

    python scripts/formula.py                                            # Formula/lfm.rb
    python scripts/formula.py dist/lfm2audio_mlx-0.1.0.tar.gz OWNER/lfm2audio-mlx   # for the tap

Without a release the formula has an owner and a digest that nobody can install from
(`brew install --HEAD` can). With the source archive of one it is whole; what does not fit is an
error and nothing is printed. A third argument is another URL of the archive, to try it before it
is published.
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx import __version__
from resources import PROJECT, PYTHON, ROOT, Needs, load_lock, lowest_mlx, needed

ARCHIVE = f"{PROJECT.replace('-', '_')}-{__version__}.tar.gz"
NO_OWNER = "OWNER"
NO_DIGEST = "0" * 64
RECORDING = "tests/data/recordings/seen_00.wav"
SAID = "alarm set for five thirty"
"""What the recording says that the formula's test transcribes."""
PYTHON_ONLY = {"cffi", "pycparser", "pydantic"}
"""Formulae that we import from, and whose libraries nothing of ours is linked against."""


@dataclass(frozen=True)
class Release:
    """Where the source archive of a version is, and its digest."""

    repository: str
    url: str
    sha256: str


UNRELEASED = Release(
    f"{NO_OWNER}/{PROJECT}",
    f"https://github.com/{NO_OWNER}/{PROJECT}/releases/download/v{__version__}/{ARCHIVE}",
    NO_DIGEST,
)
"""What stands in the repository's own copy: nothing that could be installed by mistake."""


def release(archive: Path, repository: str, url: str | None = None) -> Release:
    """The release that an archive was built for.

    Raises:
        ValueError: it is not this version's archive, or `repository` is not OWNER/NAME.
    """
    if archive.name != ARCHIVE:
        raise ValueError(f"{archive.name}: version {__version__} is in {ARCHIVE}")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or repository == UNRELEASED.repository:
        raise ValueError(f"{repository}: a repository is OWNER/NAME, with its true owner")
    address = url or f"https://github.com/{repository}/releases/download/v{__version__}/{ARCHIVE}"
    return Release(repository, address, hashlib.sha256(archive.read_bytes()).hexdigest())


HEAD = """\
class Lfm < Formula
  include Language::Python::Virtualenv

  desc "Hear, think and speak offline with LFM2-Audio, in MLX"
  homepage "https://github.com/{repository}"
  url "{url}"
  sha256 "{sha256}"
  license "Apache-2.0"
  head "https://github.com/{repository}.git", branch: "main"
"""

BODY = """\
  allow_network_access! :build

  def install
    # Homebrew has one version of mlx, the newest.
    too_old = Formula["mlx"].version < Version.new("{mlx}")
    odie "lfm needs mlx {mlx} or newer: brew upgrade mlx" if too_old

    ENV["CMAKE_ARGS"] = "-DUSE_SYSTEM_LIBSOXR=ON" # soxr, with the library of Homebrew's
    virtualenv_install_with_resources
    generate_completions_from_executable(bin/"lfm", shell_parameter_format: :typer)
    pkgshare.install "{recording}" => "alarm.wav"
  end

  def caveats
    <<~EOS
      A model is downloaded and converted once, 3 GB of which 1 GB is kept:
        lfm pull
      After that nothing touches the network. Without it, there is a toy to try:
        lfm transcribe --model nano #{{opt_pkgshare}}/alarm.wav
      What may be missing on this machine, and how to mend it:
        lfm doctor
      The daemon that keeps the model in memory starts with the first command. To have it
      there after login, choose one of
        lfm daemon install
        brew services start lfm
    EOS
  end

  service do
    run [opt_bin/"lfm", "serve"]
    keep_alive crashed: true
    process_type :interactive
    log_path var/"log/lfm.log"
    error_log_path var/"log/lfm.log"
  end

  test do
    ENV["LFM_HOME"] = testpath.to_s
    assert_match version.to_s, shell_output("#{{bin}}/lfm --version")
    words = shell_output("#{{bin}}/lfm transcribe --model nano --no-daemon #{{pkgshare}}/alarm.wav")
    assert_match "{said}", words
    assert_match "nano", shell_output("#{{bin}}/lfm list")
    assert_path_exists man1/"lfm.1"
  end
end
"""


def formula(found: Release, needs: Needs) -> str:
    """The formula's text; the same for the same lock and release."""
    return "\n".join(
        [
            HEAD.format(repository=found.repository, url=found.url, sha256=found.sha256),
            dependencies(needs),
            *(
                f'  resource "{each.name}" do\n    url "{each.url}"\n'
                f'    sha256 "{each.sha256}"\n  end\n'
                for each in needs.resources
            ),
            BODY.format(mlx=lowest_mlx(), recording=RECORDING, said=SAID),
        ]
    )


def dependencies(needs: Needs) -> str:
    """`depends_on` lines in Homebrew's order: tools, then all else by name."""
    lines = [
        (name, f'"{name}"' + (" => :no_linkage" if name in PYTHON_ONLY else ""))
        for name in (*needs.formulae, f"python@{PYTHON}")
    ]
    lines += [("arm64", "arch: :arm64"), ("macos", "macos: :sonoma")]
    told = [f'  depends_on "{tool}" => :build' for tool in needs.tools]
    return "\n".join([*told, *(f"  depends_on {line}" for _, line in sorted(lines))]) + "\n"


def main(arguments: list[str]) -> int:
    try:
        needs = needed(load_lock())
        if not arguments:
            (ROOT / "Formula" / "lfm.rb").write_text(formula(UNRELEASED, needs), "utf-8")
        elif len(arguments) in (2, 3):
            archive, repository, *url = arguments
            print(formula(release(Path(archive), repository, *url), needs), end="")
        else:
            raise ValueError("usage: formula.py [ARCHIVE OWNER/NAME [URL]]")
    except (ValueError, OSError) as error:
        print(f"formula.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
