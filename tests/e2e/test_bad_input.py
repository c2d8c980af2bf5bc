"""What is wrong gets an exit code, one to three lines that name it, and no traceback."""

import subprocess
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("hello", "--temp", "-1"), "temperature"),
        (("hello", "--temp", "nan"), "temperature"),
        (("hello", "--top-p", "2"), "top_p"),
        (("hello", "-n", "0"), "--max-tokens"),
        (("hello", "-c", "0"), "context"),
        (("hello", "-t", "0"), "threads"),
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


def test_text_that_is_not_utf8_is_refused(forge, tiny_chat, tmp_path):
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
