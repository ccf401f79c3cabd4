"""Monitoring with Prometheus and Grafana: what the database knows as metrics, alert rules, and a dashboard."""
