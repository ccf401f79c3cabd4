"""Regular work of a worker for each account, free of charge."""
