r"""Pre-tokenizers: tokenizer.ggml.pre -> the rules that cut text into words before any merge.

The table follows llama.cpp v0.5.0 (llama-vocab.cpp, and unicode.cpp where that matches by hand),
not the models' own tokenizer.json, because the ids must equal llama.cpp's. Its regexes see one
class for all letters beyond ASCII, so what [\p{Lu}..]*[\p{Ll}..]+ comes to is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from forge.tokenizer.words import (
    HAN,
    HAN_LETTER,
    NOT_LOWER,
    NOT_UPPER,
    Stage,
    end_after_thousands,
    halve_spaces,
    start_before_thousands,
)

SUFFIX = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WORD = r"[^\r\n\pL\pN]?[\pL]+"
MARKED = r"[^\r\n\pL\pN]?[\pL\pM]+"
CASED = (
    rf"[^\r\n\pL\pN]?[{NOT_LOWER}]*[{NOT_UPPER}]+",
    rf"[^\r\n\pL\pN]?[{NOT_LOWER}]+[{NOT_UPPER}]*",
)
CASED_MARKED = tuple(part.replace("\xd2", "\xd2\xd4") for part in CASED)
SIGNS = r" ?[^\s\pL\pN]+"
SPACES = r"\s+(?!\S)|\s+"
NEWLINES = r"\s*[\r\n]+"
DIGIT = r"[\pN]"
THREE = r"[\pN]{1,3}"
NUMBER = r"[\pN]+"
LINES = r"[^\n]+|[\n]+"
ASCII_SIGN = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
SIGNED_WORD = rf"{ASCII_SIGN}[A-Za-z]+|[^\r\n\pL\pP\pS]?[\pL\pM]+| ?[\pP\pS]+"
HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
CJK_SIGNS = (
    "[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
)
ASIAN = (  # Han, kana, Thai, Lao, Khmer, Myanmar, Hangul
    "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    "\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"
    "\uac00-\ud7af\u1100-\u11ff]+"
)
CASED_LETTERS = (  # deepseek-llm's own list
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b"
    "\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787"
    "\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?[\pL]+| ?[\pN]+|{SIGNS}|{SPACES}"
LLAMA3 = rf"{SUFFIX}|{WORD}|{THREE}|{SIGNS}[\r\n]*|{NEWLINES}|{SPACES}"
QWEN2 = rf"{SUFFIX}|{WORD}|{DIGIT}|{SIGNS}[\r\n]*|{NEWLINES}|{SPACES}"
CHATGPT_REST = rf"{SIGNS}[\r\n/]*|{NEWLINES}|{SPACES}"
EXAONE_WORD = r"[^\r\n\pL\pN]?[\pL](?:[\pL\pM]| [\pL])*"
KIMI_WORD = rf"[^\r\n\pL{HAN_LETTER}\pN]?[\pL]+"
KIMI_SIGNS = rf" ?[^\s\pL{HAN_LETTER}\pN]+[\r\n]*"


@dataclass(frozen=True, slots=True)
class Rules:
    """How one family of names cuts text, and what goes with it.

    `ignore_merges`: a word that is a token is that token, whatever the merges. `byte_level`: tokens
    are written in GPT-2's alphabet, a character for each byte; otherwise in UTF-8, with <0x00> to
    <0xFF> for what has no token. `escape_spaces`: tokens have U+2581 for a space. `newline_words`:
    a run of newlines that is a token is that token. `han`: Han characters are a class. `add_bos`:
    what holds when the file does not say.
    """

    stages: tuple[Stage, ...]
    ignore_merges: bool = False
    byte_level: bool = True
    escape_spaces: bool = False
    newline_words: bool = False
    han: bool = False
    add_bos: bool = False


_GPT2 = Rules((GPT2,))
_DIGITS = Rules((DIGIT, GPT2))
_LLAMA3 = Rules((LLAMA3,))
_QWEN2 = Rules((QWEN2,))
_GPT4O = Rules((rf"{CASED[0]}{SUFFIX}?|{CASED[1]}{SUFFIX}?|{THREE}|{CHATGPT_REST}",))
_DEEPSEEK3 = Rules((THREE, HAN_KANA, rf"{SIGNED_WORD}[\r\n]*|{NEWLINES}|{SPACES}"))
_BLOOM = Rules((r" ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+",))
_LINES = Rules((LINES,), byte_level=False, escape_spaces=True)
_MARKED = rf"{MARKED}{SUFFIX}?"

DEFAULT = Rules((r"[\pP\$\+<=>\^~\|]+", GPT2, NUMBER, "[0-9][0-9][0-9]"))

_FAMILIES: dict[str, Rules] = {
    "default": DEFAULT,
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano": replace(
        _LLAMA3, ignore_merges=True, add_bos=True
    ),
    "dbrx smaug-bpe glm4 chatglm-bpe": _LLAMA3,
    "jais-2": Rules((LLAMA3, halve_spaces)),
    "minicpm5": Rules(
        (THREE, rf"{SUFFIX}|{WORD}|{NUMBER}|{SIGNS}[\r\n]*|{NEWLINES}|{SPACES}"), ignore_merges=True
    ),
    "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert "
    "jina-v1-en jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling exaone4": _GPT2,
    "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2": _DIGITS,
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2": _QWEN2,
    "qwen35": Rules((rf"{SUFFIX}|{MARKED}|{DIGIT}| ?[^\s\pL\pM\pN]+[\r\n]*|{NEWLINES}|{SPACES}",)),
    "laguna": Rules((LINES, QWEN2)),
    "ufakzeka": Rules((rf"{WORD}|{DIGIT}|{SIGNS}[\r\n]*|{NEWLINES}|{SPACES}",)),
    "seed-coder": Rules((rf"{SUFFIX}|{WORD}|{DIGIT}| ?[^\s\pL\pN\r\n]+|{NEWLINES}|{SPACES}",)),
    "bailingmoe bailingmoe2 llada-moe": Rules(
        (rf"{SUFFIX}|{WORD}|{DIGIT}|{SIGNS}[\r\n]*|\s*[\r\n]|{SPACES}",)
    ),
    "exaone-moe": Rules((rf"{SUFFIX}|{EXAONE_WORD}|{DIGIT}|{SIGNS}[\r\n/]?|\s*[\r\n]|{SPACES}",)),
    "gpt-4o llama4 kanana2 talkie minimax-m2": _GPT4O,
    "granite-embed-multi-97m": Rules(
        (rf"{CASED_MARKED[0]}{SUFFIX}?|{CASED_MARKED[1]}{SUFFIX}?|{THREE}|{CHATGPT_REST}",),
        ignore_merges=True,
    ),
    "tekken": Rules(
        (rf"{CASED[0]}|{CASED[1]}|{DIGIT}|{CHATGPT_REST}",), ignore_merges=True, add_bos=True
    ),
    "tiny_aya cohere2moe": Rules((end_after_thousands, rf"{_MARKED}|{THREE}|{CHATGPT_REST}")),
    "youtu": Rules(
        (
            rf"[\uac00-\ud7a3\u3131-\u318e]+|{CJK_SIGNS}|[\u3105-\u312f]+|{HAN_KANA}",
            rf"{_MARKED}|{DIGIT}|{CHATGPT_REST}",
        ),
        ignore_merges=True,
    ),
    "deepseek-llm": Rules(
        (
            r"[\r\n]",
            rf"\s?[{CASED_LETTERS}]+",
            r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
            r"(?<!\s)\s+\Z",  # the look-behind keeps a long run of spaces from taking its square
            CJK,
            NUMBER,
        )
    ),
    "deepseek-coder": Rules((r"[\r\n]", r"\s?[\pL]+", r"\s?[\pP]+", CJK, DIGIT)),
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": _DEEPSEEK3,
    "spark2_5": Rules((THREE, HAN_KANA, rf"{SIGNED_WORD}|[\r\n]|{SPACES}", DIGIT)),
    "afmoe": Rules((end_after_thousands, ASIAN, _DEEPSEEK3.stages[2])),
    "kimi-k2": Rules(
        (rf"[{HAN}]+|{KIMI_WORD}{SUFFIX}?|{THREE}|{KIMI_SIGNS}|{NEWLINES}|{SPACES}",), han=True
    ),
    "falcon": Rules((r"[\pP\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]")),
    "chameleon": Rules(
        (
            "<sentinel:[0-9]+>",
            "IMGIMG[A-I]{1,4}Z",
            r"[\t\n]|    |  ",
            DIGIT,
            r"[\pP!-/:-@\[-`{-~]",
            GPT2,
        ),
        add_bos=True,
    ),
    "superbpe": Rules((NUMBER, start_before_thousands)),
    "poro-chat bloom gpt3-finnish": _BLOOM,
    "viking": Rules((*_BLOOM.stages, DIGIT)),
    "gemma4 granite-embed-multi-311m": replace(_LINES, newline_words=True, add_bos=True),
    "sarvam-moe": _LINES,
}

RULES: dict[str, Rules] = {
    name: rules for names, rules in _FAMILIES.items() for name in names.split()
}
