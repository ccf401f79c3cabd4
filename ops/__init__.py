"""What stands around the queue: its command, its embedded services and its simulator."""
