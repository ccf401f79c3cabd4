"""Jobs and their pictures: enqueued, claimed, moved, and ended by people."""
