"""The worker: one file per stage, the providers' wires, and the parts that move paid bytes safely."""
