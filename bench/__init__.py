"""Kurir measured: `python -m bench`. Every figure stands beside a floor or a peer that ran in the same minutes.

`cases/` hold what is measured, `floors` the least that the same work can cost, `upstream` the other end of the wire,
`report` how figures are judged and shown. What each one means: docs/benchmarks.md.
"""
