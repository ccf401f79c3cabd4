"""What producers and workers agree on: the lifecycle, errors, requests, settings and all SQL."""
