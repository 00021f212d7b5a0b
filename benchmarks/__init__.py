"""CPU per call of this library without failures, compared with bare aiohttp and with other libraries.

    python -m benchmarks [--quick] [--only VARIANT] [--workload NAME] [--json FILE] [--figure FILE]

A server that is not the bottleneck (``server``) runs on its own core. One client process, on another core, sends short
slices of calls of a workload (``workloads``) with each variant (``variants``), each between two slices of bare aiohttp
(``measuring``). The result is the ratio to these neighbours: machines drift, and neighbouring slices drift together.
``results`` has the arithmetic, ``report`` the tables, ``figures/comparison.py`` the picture.

There are separate benchmarks: ``python -m benchmarks.import_time``, ``.allocators``, ``.fanout``, ``.hedging``,
``.hedging_queues``, ``.under_failure`` and ``.simulation_speed``.
"""
