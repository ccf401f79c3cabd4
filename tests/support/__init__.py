"""What several test tiers share: real servers, a database each, and a worker without Celery."""
