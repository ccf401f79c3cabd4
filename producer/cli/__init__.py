"""The producer's commands: one function a command, each in a module of its own; the `genqueue` command finds them."""
