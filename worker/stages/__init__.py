"""The stages of a job, one file per stage, and their shared parts."""
