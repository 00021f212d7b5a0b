"""What resilience costs when nothing fails: CPU per call beside bare aiohttp, and beside what else there is.

    python -m benchmarks [--quick] [--only VARIANT] [--workload NAME] [--json FILE] [--figure FILE]

A server that is not the bottleneck (``server``) runs on a core of its own. One client process, on another, makes short
slices of calls of one workload (``workloads``) through each variant (``variants``), each of them between two slices of
bare aiohttp (``measuring``). What counts is the ratio to these neighbours: machines drift, neighbours drift together.
``results`` has the arithmetic, ``report`` the tables, ``figures/comparison.py`` the picture.

Benchmarks of other things stand beside it: ``python -m benchmarks.import_time``, ``.hedging``, ``.simulation_speed``.
"""
