"""Metrics for Prometheus: what happened in the processes of a worker or in the server, and how the fleet stands.

``vocabulary`` names them all; ``process`` counts the actions of the log where they happen; ``fleet`` asks the database
when somebody looks; ``server`` answers at ``/metrics``.
"""
