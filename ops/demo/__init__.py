"""The demo: a sample batch over the simulator, from prompts to images that you can look at."""
