"""What is wrong gets an exit code, one to three lines that name it, and no traceback."""

import subprocess
from pathlib import Path

import pytest

from forge.gguf import open_gguf

VERBS = {
    "run": ("run", "hello", "-m"),
    "tokenize": ("tokenize", "hello", "-m"),
    "graph": ("graph",),
    "bench": ("bench", "-p", "4", "-n", "2", "-r", "1", "-m"),
    "perplexity": ("perplexity", "-f", __file__, "-m"),
}


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert 1 <= len(lines) <= 3, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


@pytest.fixture(params=["missing", "folder", "noise", "empty", "truncated"])
def bad_file(request, tmp_path, tiny_chat) -> Path:
    path: Path = tmp_path / f"{request.param}.gguf"
    match request.param:
        case "folder":
            path.mkdir()
        case "noise":
            path.write_bytes(bytes(range(256)) * 40)
        case "empty":
            path.touch()
        case "truncated":
            path.write_bytes(tiny_chat.read_bytes()[:-5000])
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_is_no_model_is_named(forge, verb, bad_file):
    refused(forge(*VERBS[verb], bad_file), 1, bad_file.name)


@pytest.mark.parametrize("verb", ["run", "graph", "bench", "perplexity"])
def test_an_unknown_architecture_is_named(forge, verb, tiny_chat, tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(tiny_chat.read_bytes().replace(b"llama", b"lhama"))
    refused(forge(*VERBS[verb], path), 1, "other.gguf", "lhama")


@pytest.mark.parametrize("verb", ["run", "graph", "bench"])
def test_an_unknown_tensor_type_is_named(forge, verb, tiny_chat, tmp_path):
    data = bytearray(tiny_chat.read_bytes())
    at = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8
    data[at : at + 4] = (250).to_bytes(4, "little")
    path = tmp_path / "type.gguf"
    path.write_bytes(data)
    refused(forge(*VERBS[verb], path), 1, "type.gguf", "output_norm.weight", "250")


def test_tokenizing_needs_no_known_architecture(forge, tiny_chat, tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(tiny_chat.read_bytes().replace(b"llama", b"lhama"))
    assert forge("tokenize", "-m", path, "hello").returncode == 0


@pytest.mark.parametrize("verb", ["run", "bench", "perplexity"])
def test_an_unknown_backend_lists_those_there_are(forge, verb, tiny_chat):
    refused(forge(*VERBS[verb], tiny_chat, "-b", "cuda"), 2, "cuda", "cpu")


def test_an_unknown_backend_is_refused_before_a_model_is_fetched(forge, tmp_path):
    done = forge("run", "hello", "-b", "cuda", env={"FORGE_CACHE": str(tmp_path / "cache")})
    refused(done, 2, "cuda")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("hello", "--temp", "-1"), "temperature"),
        (("hello", "--temp", "nan"), "temperature"),
        (("hello", "--top-p", "2"), "top_p"),
        (("hello", "-n", "0"), "--max-tokens"),
        (("hello", "-c", "0"), "context"),
        (("hello", "-c", "9" * 30), "context"),
        (("hello", "-t", "0"), "threads"),
        (("hello", "-t", "9" * 30), "threads"),
        (("hello", "--device", "\udcff"), "device"),
        (("hello", "--patience", "0"), "patience"),
        (("hello", "--tokens", "1"), "--tokens"),
        (("--tokens", "1,x"), "--tokens"),
        (("--tokens", "1,99999"), "99999"),
        (("hello", "--raw", "--system", "x"), "--system"),
        (("hello", "--logit-bias", "x"), "--logit-bias"),
        (("",), "prompt is empty"),
    ],
)
def test_options_out_of_range_are_usage_errors(forge, tiny_chat, arguments, word):
    refused(forge("run", "-m", tiny_chat, *arguments), 2, word)


def test_a_reply_of_any_length_may_be_asked_for(forge, tiny_chat):
    done = forge("run", "-m", tiny_chat, "hello", "-n", "9" * 30, "-c", "24")
    assert done.returncode == 0, done.stderr


def test_a_path_that_is_not_utf8_is_a_path_like_any_other(forge, tiny_chat, tmp_path):
    path = tmp_path / "caf\udce9.gguf"
    path.write_bytes(tiny_chat.read_bytes())
    assert forge("run", "-m", path, "hello", "-n", "2").returncode == 0


def test_a_vocabulary_that_does_not_fit_the_embedding_is_named(forge, tiny_chat, tmp_path):
    path = tmp_path / "cut.gguf"
    data = bytearray(tiny_chat.read_bytes())
    name = b"token_embd.weight"
    at = data.index(name) + len(name) + 4 + 8  # past the number of dimensions and the width
    data[at : at + 8] = (200).to_bytes(8, "little")
    path.write_bytes(data)
    for verb in ("run", "bench", "perplexity"):
        refused(forge(*VERBS[verb], path), 1, "cut.gguf", "323 tokens", "200 rows")


def test_weights_that_are_no_numbers_give_no_answer(forge, tiny_chat, tmp_path):
    path = tmp_path / "nan.gguf"
    with open_gguf(tiny_chat) as file:
        at = file.tensors["output_norm.weight"].offset
    data = bytearray(tiny_chat.read_bytes())
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)
    for verb in ("run", "bench", "perplexity"):
        done = forge(*VERBS[verb], path)
        assert (done.returncode, done.stdout) == (3, ""), verb
        assert "Traceback" not in done.stderr


def test_what_is_doubtful_about_a_file_is_said(forge, tiny_chat, tmp_path):
    path = tmp_path / "old.gguf"
    path.write_bytes(tiny_chat.read_bytes().replace(b"tokenizer.ggml.pre", b"tokenizer.ggml.qre"))
    for verb in ("run", "tokenize"):
        done = forge(*VERBS[verb], path)
        assert done.returncode == 0
        assert "old.gguf: tokenizer.ggml.pre is missing" in done.stderr


def test_a_chat_template_that_writes_nothing_is_an_error(forge, tiny_chat, tmp_path):
    data = tiny_chat.read_bytes()
    key = b"tokenizer.chat_template"
    at = data.index(key) + len(key) + 4
    size = int.from_bytes(data[at : at + 8], "little")
    path = tmp_path / "silent.gguf"
    path.write_bytes(
        data[: at + 8] + b"{%- if 0 %}x{% endif -%}".ljust(size) + data[at + 8 + size :]
    )
    refused(forge("run", "-m", path, "hello"), 1, "empty prompt", "--raw")


@pytest.mark.parametrize("layer", ["-1", "0", "2"])
def test_a_graph_is_cut_between_two_layers(forge, tiny_chat, layer):
    refused(forge("graph", tiny_chat, "--split", layer), 2, "2 layers")


def test_text_that_is_not_utf8_is_refused(forge, tiny_chat, tmp_path):
    refused(forge("run", "-m", tiny_chat, "hello", "--system", "caf\udce9"), 1, "--system", "UTF-8")
    refused(forge("run", "-m", tiny_chat, "hello", "--stop", "caf\udce9"), 1, "--stop", "UTF-8")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    refused(forge("run", "-m", tiny_chat, stdin=b"caf\xe9"), 1, "UTF-8", "3")
    refused(forge("tokenize", "-m", tiny_chat, "--file", tmp_path / "latin"), 1, "latin", "UTF-8")
    refused(forge("perplexity", "-m", tiny_chat, "-f", tmp_path / "latin"), 1, "latin", "UTF-8")


def test_a_text_file_that_is_missing_is_named(forge, tiny_chat, tmp_path):
    refused(forge("tokenize", "-m", tiny_chat, "--file", tmp_path / "no"), 1, "no: No such file")
    refused(forge("perplexity", "-m", tiny_chat, "-f", tmp_path / "no"), 1, "no: No such file")


def test_a_model_without_chat_template_asks_for_raw(forge, tiny_chat, tmp_path):
    path = tmp_path / "plain.gguf"
    key = b"tokenizer.chat_template"
    path.write_bytes(tiny_chat.read_bytes().replace(key, b"tokenizer.chat_tempIate"))
    refused(forge("run", "-m", path, "hello"), 1, "plain.gguf", "--raw")
    assert forge("run", "-m", path, "--raw", "hello", "-n", "2").returncode == 0


def test_a_context_larger_than_the_models_names_both_numbers(forge, tiny_chat):
    refused(forge("run", "-m", tiny_chat, "hello", "-c", "99999"), 1, "99999", "512")


def test_a_closed_pipe_ends_the_program_quietly(forge_command, tiny_chat):
    ask = [*forge_command, "run", "-m", str(tiny_chat), "hello", "-n", "200", "--temp", "2"]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        stderr = process.stderr.read().decode()
        assert process.wait(30) == 1
    assert "Traceback" not in stderr
