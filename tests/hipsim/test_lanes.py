"""Kernels compute what they would on a card: waves of 32, fragments of gfx11 and of gfx12."""

import pytest

from .stage import play


def test_lanes_exchange_what_the_instructions_say() -> None:
    found = play("lanes.lanes").result
    odd = sum(1 << lane for lane in range(32) if lane & 1) - (1 << 32)
    for lane, values in enumerate(found):
        assert values == [
            lane ^ 5,
            lane + 3 if lane % 8 < 5 else lane,
            max(lane - 1, 0),
            lane // 16 * 16 + 9,
            odd,
            lane * 7 % 32,
            lane - 1 if lane % 16 else -1,
            lane // 4 * 4 + 3 - lane % 4,
            40,
            lane ^ 1,
            1,
            17,
        ]


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
@pytest.mark.parametrize("threads", [32, 256, 1024])
def test_a_sum_over_blocks_is_the_same_in_every_order(order: str, threads: int) -> None:
    settings = {"order": order}
    blocks = 3
    wanted = blocks * sum(range(threads)) + 100 * threads * sum(range(blocks))
    assert play("lanes.total", settings, blocks=blocks, threads=threads).result == wanted


def test_bytes_are_multiplied_and_moved_as_the_instructions_say() -> None:
    def signed(byte: int) -> int:
        return byte - 256 if byte > 127 else byte

    left, right = [0xFF, 0x01, 0x7F, 0x80], [0x02, 0xFF, 0x80, 0x7F]
    both = 5 + sum(signed(x) * signed(y) for x, y in zip(left, right, strict=True))
    one = 5 + sum(signed(x) * y for x, y in zip(left, right, strict=True))
    assert play("lanes.byte_tricks").result == [
        both % 2**32,
        one % 2**32,
        0x00446655,
        0xBC,
        0x11887766,
    ]


@pytest.mark.parametrize("kind", ["halves", "bytes"])
@pytest.mark.parametrize("arch", ["gfx1100", "gfx1201"])
def test_a_matrix_product_has_the_layout_of_its_generation(arch: str, kind: str) -> None:
    found = play("lanes.product", {"devices": f"arch={arch}"}, arch=arch, kind=kind)
    assert found.result is True, found.error


def test_a_graph_does_its_work_again_on_what_is_there_then() -> None:
    assert play("lanes.graph_replayed_on_new_inputs").result == [[16.0, 4.0], [160.0, 40.0]]


def test_kernels_may_come_from_macros_headers_and_templates() -> None:
    assert play("lanes.headers_and_macros").result == [11, 22, 66]


def test_a_reduction_in_one_meeting_has_the_bits_of_five_exchanges() -> None:
    assert play("lanes.reductions").result is True
