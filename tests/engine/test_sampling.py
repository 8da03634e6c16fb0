"""Settings of the sampler that mean nothing are refused."""

import pytest

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.sampling import Sampling


@pytest.mark.parametrize("bad", [(-0.1, 0), (float("nan"), 0), (float("inf"), 0), (1.0, -1)])
def test_a_setting_without_meaning_is_refused(bad: tuple[float, int]):
    with pytest.raises(RequestError):
        Sampling(*bad)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.0, 5), Sampling(1.3, 1)])
def test_greedy_has_several_names(sampling: Sampling):
    assert sampling.greedy
    assert not Sampling(1.3, 2).greedy
