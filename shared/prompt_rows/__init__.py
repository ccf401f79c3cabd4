"""One row of prompts, from whichever door: its columns, its checks, and the words for what is wrong with it."""
