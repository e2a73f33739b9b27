"""The main job: sources become summaries on the satellite, an analysis on the core, a record in ψ.

Every step is checked before it counts: a summary stands in its text, a citation resolves, the
record reads back. Finished jobs are in the ledger, so that the same command after a kill does
only what is left.
"""
