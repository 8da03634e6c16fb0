"""`lfm chat` where no model is installed: it offers one, at a terminal alone."""

import re
from pathlib import Path

import pexpect
import pytest
from chatting import Run, Terminal

DOWNLOAD = re.compile(r"No model is installed yet\. Download .*\[y/N\]: ?")


@pytest.mark.parametrize("answer", ["n", ""])
def test_a_first_run_offers_a_model_and_takes_no_for_an_answer(
    terminal: Terminal, home: Path, answer: str
):
    child = terminal("chat", LFM_MODEL=None, LFM_OFFLINE="1")
    child.expect(DOWNLOAD)
    child.sendline(answer)
    child.expect_exact("\n")
    child.expect(pexpect.EOF)
    child.close()
    (line,) = (child.before or "").splitlines()
    assert "`lfm pull`" in line
    assert "--model nano" in line
    assert child.exitstatus == 3
    assert list(home.iterdir()) == []


def test_a_first_run_that_cannot_download_says_so(terminal: Terminal):
    child = terminal("chat", LFM_MODEL=None, LFM_OFFLINE="1")
    child.expect(DOWNLOAD)
    child.sendline("y")
    child.expect_exact("\n")
    child.expect(pexpect.EOF)
    child.close()
    (line,) = (child.before or "").splitlines()
    assert "LFM_OFFLINE" in line
    assert child.exitstatus in (1, 3)


def test_ctrl_c_at_the_offer_is_an_interruption(terminal: Terminal):
    child = terminal("chat", LFM_MODEL=None, LFM_OFFLINE="1")
    child.expect(DOWNLOAD)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_pipe_is_not_asked(lfm: Run):
    result = lfm("chat", env={"LFM_MODEL": ""}, input="y\n")
    assert (result.returncode, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    assert "lfm pull" in result.stderr
