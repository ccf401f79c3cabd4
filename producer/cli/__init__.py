"""The producer's commands. Each is one function in its own module; the `genqueue` command finds them."""
