"""What was asked for, which workloads of it are left, and each of them measured and stored.

Imports registry and core; how to measure and where to store come in as arguments.
"""
