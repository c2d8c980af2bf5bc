"""A backend that samples on its device: the few largest logits draw what the whole row draws."""

import numpy as np
import pytest

from forge import Sampler, SamplingParams
from forge.errors import BackendWrong, UsageError

RANDOM = np.random.default_rng(3)
ROW = RANDOM.normal(0, 3, 5000).astype(np.float32)


def largest(count):
    ids = np.sort(np.argsort(-ROW)[:count])
    return ids, ROW[ids]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0),
        SamplingParams(seed=1),
        SamplingParams(seed=2, temperature=2.0, top_k=200, top_p=1.0, min_p=0.0, typical_p=0.9),
    ],
)
def test_the_candidates_draw_the_same_tokens_as_the_whole_row(params):
    sampler = Sampler(params)
    for count in (sampler.candidates, sampler.candidates + 7):
        few = [sampler.sample_from(*largest(count), position) for position in range(200)]
        assert few == [sampler.sample(ROW, position) for position in range(200)]


@pytest.mark.parametrize(
    "params", [{"top_k": 0}, {"logit_bias": {3: 1.0}}, {"repeat_penalty": 1.1, "temperature": 0}]
)
def test_some_parameters_need_every_logit(params):
    sampler = Sampler(SamplingParams(**params))
    assert sampler.candidates == 0
    with pytest.raises(UsageError, match="give all"):
        sampler.sample_from(*largest(40), 0)


def test_too_few_candidates_are_refused():
    with pytest.raises(UsageError, match="39 logits do not decide: give 40"):
        Sampler(SamplingParams()).sample_from(*largest(39), 0)


def test_a_candidate_that_is_no_number_is_the_backends_fault():
    with pytest.raises(BackendWrong):
        Sampler(SamplingParams(temperature=0)).sample_from(np.array([4]), [np.nan], 0)
