"""What llama.cpp makes of a vocabulary's token types: which tokens are special, which end a reply.

Files are often wrong about both, so llama.cpp goes by well-known texts too (llama_vocab::impl::load
in llama-vocab.cpp, v0.5.0); this follows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forge.tokenizer.vocabulary import TokenType, Vocabulary

# Each of these ends a reply, in any vocabulary.
STOPS = {
    *("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|calls|>"),
    *("<|flush|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<end_of_utterance>"),
    *("<eos>", "</s>", "<turn|>", "<|tool_response>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "[e~["),
    "<｜end▁of▁sentence｜>",
}
# Fill-in-the-middle tokens that end a reply, when the file does not name them itself.
STOPPING_ROLES = {
    "fim_pad_id": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep_id": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep_id": ("<|file_sep|>",),
}
# Fill-in-the-middle tokens that are at least control tokens.
CONTROL_ROLES = {
    "fim_pre_id": "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> "
    "<|code_prefix|> <|prefix|>",
    "fim_suf_id": "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> "
    "<|code_suffix|> <|suffix|>",
    "fim_mid_id": "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> "
    "<|code_middle|> <|middle|>",
}
# gpt-oss: always part of the visible text.
SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


@dataclass(frozen=True, slots=True)
class Roles:
    """`types`: the types after llama.cpp's corrections; `stop_ids`: tokens that end a reply."""

    types: np.ndarray
    stop_ids: frozenset[int]

    def ids(self, *types: TokenType) -> list[int]:
        """The tokens of any of these types, ascending."""
        found: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return found


def roles_of(vocabulary: Vocabulary) -> Roles:
    """Correct a vocabulary's token types and collect the tokens that end a reply."""
    stored = vocabulary.types
    types = np.full(vocabulary.size, TokenType.NORMAL, np.int8) if stored is None else stored.copy()
    known = _known_texts(vocabulary)
    stops: set[int | None] = set()
    for role, texts in STOPPING_ROLES.items():
        token = getattr(vocabulary, role)
        if token is None:
            token = next((known[text] for text in texts if text in known), None)
            if token is not None:
                types[token] = TokenType.CONTROL
        stops.add(token)
    for role, names in CONTROL_ROLES.items():
        if getattr(vocabulary, role) is None:
            token = next((known[text] for text in names.split() if text in known), None)
            if token is not None:
                types[token] = TokenType.CONTROL
    for text in STOPS & known.keys():
        stops.add(known[text])
        types[known[text]] = TokenType.CONTROL
    for text in SHOWN:
        if text in known:
            types[known[text]] = TokenType.USER_DEFINED
    stops |= {vocabulary.eos_id, vocabulary.eot_id, vocabulary.eom_id}

    def ending(text: str) -> bool:
        return text in known and known[text] in stops

    # o200k_harmony and solar-open: <|end|> ends a message, not the reply.
    calls = ending("<|call|>") or ending("<|calls|>")
    if ending("<|end|>") and calls and (ending("<|return|>") or ending("<|flush|>")):
        stops.remove(known["<|end|>"])
        types[known["<|end|>"]] = TokenType.USER_DEFINED
    # gemma4: </s> is an HTML tag.
    if ending("<|tool_response>") and ending("</s>"):
        stops.remove(known["</s>"])
        types[known["</s>"]] = TokenType.NORMAL
    return Roles(types, frozenset(token for token in stops if token is not None))


def _known_texts(vocabulary: Vocabulary) -> dict[str, int]:
    """Those of the texts above that are tokens."""
    wanted = set(STOPS).union(SHOWN, *STOPPING_ROLES.values())
    wanted.update(*(names.split() for names in CONTROL_ROLES.values()))
    found: dict[str, int] = {}
    for at, token in enumerate(vocabulary.tokens):
        if token in wanted:
            found.setdefault(token, at)
    return found
