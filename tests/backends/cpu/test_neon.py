"""What cannot run here can still be assembled: Arm's code is made of Arm's instructions."""

import pytest
from llvmlite import binding, ir

from forge_cpu.formats import FORMATS
from forge_cpu.isa import Isa
from forge_cpu.kernels.tile import emit_tile
from forge_cpu.kernels.vectors import I64


@pytest.fixture(scope="module")
def machine() -> binding.TargetMachine:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple("aarch64-linux-gnu")
    except RuntimeError as error:
        pytest.skip(f"this LLVM cannot assemble for Arm: {error}")
    return target.create_target_machine(cpu="neoverse-n1", opt=3)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_tile_is_made_of_dot_products(machine: binding.TargetMachine, kind: str) -> None:
    module = ir.Module(kind)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 5), "tile")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit_tile(builder, FORMATS[kind], Isa.NEON, 2, function.args)
    builder.ret_void()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    assembly = machine.emit_assembly(parsed)
    assert assembly.count("sdot") == 16  # 8 vectors, 2 tokens
    assert ("tbl" in assembly) == (FORMATS[kind].table is not None)
