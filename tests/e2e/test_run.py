"""`forge run` and its neighbours, as a person or a script calls them."""

import json
from pathlib import Path

import pytest

from forge.testing import write_tiny


def last_object(stdout: str) -> dict:
    return json.loads(stdout.splitlines()[-1])


def test_a_person_gets_an_answer_from_the_default_model(forge, real_model):
    done = forge("run", "-m", real_model, "Tell me the capital of France.", "--temp", "0")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert done.stderr == ""


def test_json_is_one_object_with_everything_a_script_needs(forge, tiny_chat):
    done = forge("run", "-m", tiny_chat, "hello", "-n", "5", "--temp", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    reply = last_object(done.stdout)
    assert {"text", "tokens", "prompt_tokens", "finish_reason", "backend", "fallbacks"} <= set(
        reply
    )
    assert set(reply["timings"]) == {"load_s", "first_token_s", "prefill_tok_s", "decode_tok_s"}
    assert reply["backend"] == "cpu"
    assert reply["fallbacks"] == []
    assert len(reply["tokens"]) == 5 or reply["finish_reason"] == "stop"


def test_tokens_are_used_as_given_without_template_or_bos(forge, tiny_chat):
    done = forge("run", "-m", tiny_chat, "--tokens", "5,6,7", "-n", "3", "--json")
    assert last_object(done.stdout)["prompt_tokens"] == 3


def test_a_raw_prompt_is_tokenized_and_nothing_else(forge, tiny_chat):
    raw = forge("run", "-m", tiny_chat, "--raw", "abc", "-n", "4", "--temp", "0", "--json")
    ids = json.loads(forge("tokenize", "-m", tiny_chat, "abc", "--json").stdout)
    same = ",".join(map(str, ids))
    given = forge("run", "-m", tiny_chat, "--tokens", same, "-n", "4", "--temp", "0", "--json")
    assert last_object(raw.stdout)["tokens"] == last_object(given.stdout)["tokens"]


def test_the_prompt_may_come_from_standard_input(forge, tiny_chat):
    piped = forge("run", "-m", tiny_chat, "-n", "4", "--temp", "0", "--json", stdin="hello")
    given = forge("run", "-m", tiny_chat, "hello", "-n", "4", "--temp", "0", "--json")
    assert last_object(piped.stdout)["tokens"] == last_object(given.stdout)["tokens"]


def test_a_seed_repeats_a_reply_and_another_seed_does_not(forge, tiny_chat):
    def reply(seed: int) -> list[int]:
        done = forge(
            "run", "-m", tiny_chat, "hi", "-n", "12", "--seed", seed, "--json", "--temp", "2"
        )
        return last_object(done.stdout)["tokens"]

    assert reply(1) == reply(1)
    assert reply(1) != reply(2)


def test_a_stop_string_ends_the_reply_before_it(forge, real_model):
    ask = ("run", "-m", real_model, "Count from one to ten.", "--temp", "0", "--json", "-n", "60")
    whole = last_object(forge(*ask).stdout)["text"]
    word = whole[8:14]
    cut = last_object(forge(*ask, "--stop", word).stdout)
    assert cut["text"] == whole[: whole.index(word)]
    assert cut["finish_reason"] == "stop"


def test_a_full_context_ends_the_reply_and_says_so(forge, tiny_chat):
    done = forge(
        "run",
        "-m",
        tiny_chat,
        "--tokens",
        "1,2,3",
        "-c",
        "10",
        "--json",
        "--logit-bias",
        "322=-inf",
    )
    reply = last_object(done.stdout)
    assert reply["finish_reason"] == "context"
    assert len(reply["tokens"]) == 7
    assert "context is full (10 tokens)" in done.stderr


def test_a_prompt_that_does_not_fit_names_both_numbers(forge, tiny_chat):
    tokens = ",".join(["1"] * 20)
    done = forge("run", "-m", tiny_chat, "--tokens", tokens, "-c", "16")
    assert done.returncode == 1
    assert "20 tokens" in done.stderr
    assert "16 tokens" in done.stderr
    assert done.stdout == ""


def test_a_model_without_vocabulary_speaks_in_ids(forge, tmp_path):
    path = write_tiny(tmp_path / "ids.gguf")
    reply = last_object(forge("run", "-m", path, "--tokens", "1,2,3", "-n", "4", "--json").stdout)
    assert reply["text"] == ",".join(map(str, reply["tokens"]))
    assert forge("bench", "-m", path, *"-p 8 -n 2 -r 1".split()).returncode == 0
    refused = forge("run", "-m", path, "hello")
    assert refused.returncode == 1
    assert "--tokens" in refused.stderr or "--raw" in refused.stderr


def test_tokenize_prints_a_list_for_each_file(forge, tiny_chat, tmp_path):
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "empty"]
    for file, content in zip(files, (b"one\r\n", "zwei ü\n".encode(), b""), strict=True):
        file.write_bytes(content)
    arguments = [part for file in files for part in ("--file", file)]
    done = forge("tokenize", "-m", tiny_chat, *arguments, "--json")
    lists = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lists) == 3
    assert lists[0][-2:] == [13, 10]  # the vocabulary's ids are the bytes: nothing was translated
    assert lists[2] == []


def test_control_tokens_are_parsed_only_when_asked(forge, tiny_chat):
    plain = json.loads(forge("tokenize", "-m", tiny_chat, "<|im_end|>", "--json").stdout)
    parsed = json.loads(
        forge("tokenize", "-m", tiny_chat, "<|im_end|>", "--special", "--json").stdout
    )
    assert len(plain) > 1
    assert len(parsed) == 1


def test_bench_prints_the_keys_of_its_peers(forge, tiny_chat):
    done = forge("bench", "-m", tiny_chat, "-b", "cpu", *"-t 2 -p 32 -n 8 -r 2 --json".split())
    figures = last_object(done.stdout)
    assert set(figures) >= set(
        "engine variant model threads prefill_tokens decode_tokens repetitions prefill_tok_s "
        "prefill_all decode_tok_s decode_all backend device load_s peak_rss_mb".split()
    )
    for key in ("prefill_tok_s", "decode_tok_s", "load_s", "peak_rss_mb"):
        assert figures[key] > 0
    assert len(figures["prefill_all"]) == len(figures["decode_all"]) == 2


def test_bench_measures_at_a_depth(forge, tiny_chat):
    done = forge("bench", "-m", tiny_chat, *"-d 40 -p 16 -n 4 -r 1 --json".split())
    assert last_object(done.stdout)["depth"] == 40


def test_perplexity_of_likely_text_is_lower(forge, real_model, tmp_path):
    def value(text: str) -> float:
        (tmp_path / "text").write_text(text)
        done = forge("perplexity", "-m", real_model, "-f", tmp_path / "text", "--json")
        return last_object(done.stdout)["perplexity"]

    sense = "The sun rises in the east and sets in the west. Water is made of hydrogen and oxygen."
    nonsense = " ".join(sense.split()[::-1])
    assert value(sense) < value(nonsense) / 2


def test_perplexity_in_a_context_of_fewer_tokens_than_a_window_uses_all_of_it(forge, tmp_path):
    model = write_tiny(tmp_path / "short.gguf", tokenizer="bytes", context=48)
    (tmp_path / "text").write_text("a lamp that turns " * 30)
    done = forge("perplexity", "-m", model, "-f", tmp_path / "text", "--json")
    assert done.returncode == 0, done.stderr
    said = last_object(done.stdout)
    assert said["window"] == 48
    assert said["scored"] == said["tokens"] // 48 * (48 - 1 - 48 // 2)


def test_the_graph_prints_and_splits(forge, tiny_chat):
    whole = forge("graph", tiny_chat)
    assert "blk.1.attn_output" in whole.stdout
    stages = forge("graph", tiny_chat, "--split", "1")
    assert stages.stdout.count("graph llama[") == 2


@pytest.mark.parametrize("name", ["hip.py", "vulkan.py", "numpy.py", "msgspec.py"])
def test_nothing_is_imported_from_the_current_folder(forge, tiny_chat, tmp_path, name):
    (tmp_path / name).write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit(9)")
    done = forge("run", "-m", tiny_chat, "--tokens", "1,2", "-n", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not Path(tmp_path / "imported").exists()
