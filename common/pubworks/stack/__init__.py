"""A whole machine's pubworks: a private PostgreSQL and Redis, API, page and workers, kept running by a supervisor.

``programs`` finds the servers in their wheels, ``place`` is the folder where all of it lives, ``slot`` starts and stops
one process, ``services`` is the list of them, and ``supervisor`` keeps the list running.
"""
