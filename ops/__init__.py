"""What stands around the queue: its command, its embedded services, its simulator and its dashboard."""
