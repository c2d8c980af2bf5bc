"""Tokenizer, template and sampler without an engine, as others check them."""

import numpy as np

from forge.testing import ChatTemplate, Sampler, SamplingParams, Tokenizer


def test_a_prompt_is_made_and_read_back_without_an_engine(tiny_chat):
    tokenizer, template = Tokenizer.from_gguf(tiny_chat), ChatTemplate.from_gguf(tiny_chat)
    prompt = template.render([{"role": "user", "content": "Grüß dich"}])
    ids = tokenizer.encode(prompt, special=True)
    assert tokenizer.decode(ids, special=True) == prompt


def test_a_token_is_drawn_without_an_engine():
    logits = np.random.default_rng(0).normal(size=100).astype(np.float32)
    sampler = Sampler(SamplingParams(seed=7))
    assert sampler.sample(logits, 3) == Sampler(SamplingParams(seed=7)).sample(logits, 3)
    assert Sampler(SamplingParams(temperature=0)).sample(logits, 0) == logits.argmax()
