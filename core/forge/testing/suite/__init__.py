"""The conformance suite: the definition of a backend, as tests that any backend can run.

    pytest --pyargs forge.testing.suite --forge-backend NAME

L0 contract, L1 ops, L2 models, L3 faults, L4 soak; docs/backends.md says what each asks for.
"""
