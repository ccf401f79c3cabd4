"""The dashboard: what runs, what waits for a person, what it costs, and the pictures. Pages are made on the server."""
