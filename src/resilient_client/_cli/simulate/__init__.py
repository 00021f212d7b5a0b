"""``resilient-client simulate``: runs a failing system in virtual time and compares it under several settings.

::

    command      the options, and the steps below in their order
    variants     --compare: the settings to apply to the scenario
    experiment   runs every variant with every seed
    numbers      the measures that are compared, and their spread over the seeds
    series       the load on one upstream and the state of its circuits, second by second
    report       the result as text: table, timeline, legend
    as_json      the result as JSON
    drawing      the result as a file: figure draws PNG and SVG, page makes HTML
"""
