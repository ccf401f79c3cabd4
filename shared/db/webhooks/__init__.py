"""Who is told what: endpoints, deliveries on their way to them, and when a batch is settled."""
