"""``resilient-client simulate``: a system in trouble, in virtual time, under one or several settings side by side.

::

    command      the options, and the order of what follows
    variants     --compare: which settings to lay over the scenario
    experiment   run every variant with every seed
    numbers      what is compared, with its spread over the seeds
    series       what is drawn: one upstream, second by second
    table, timeline, as_json        for a terminal, a pipe, a program
    figure, page                    PNG, SVG, and one HTML file that holds it all
"""
