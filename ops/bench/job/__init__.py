"""What one job costs, side by side: genqueue, Celery as people write it, Celery tuned by hand, and a bare script."""
