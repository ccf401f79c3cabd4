"""The tools around the queue: its command, its embedded servers and its simulator."""
