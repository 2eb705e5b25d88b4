"""Workload to counts and measurement, each in a process of its own. torch is imported here and in models.

May import models, registry and core.
"""
