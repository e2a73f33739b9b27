"""The lab: real system containers that play the cluster, for tests and for trying things out.

``python molecule/lab up`` decides first what is missing (`plan`), then does it (`work`).
"""
