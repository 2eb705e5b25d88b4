"""Workload -> measurement: counted without data, or watched while it runs in a process of its own.

Devices stand behind one interface (`device.py`); `observe.py` runs one workload; the constants of the method are in
`core/protocol.py`. Imports models, registry and core, never store, report or the command line.
"""
