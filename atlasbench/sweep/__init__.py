"""What was asked for, which workloads of it are left, and each of them measured and stored.

`opening.py` brings in the measuring side and the store. The others get both as arguments.
"""
