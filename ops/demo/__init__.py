"""The demo: a sample batch over the simulator, from prompts to pictures you can look at."""
