"""What a report shows, read from MLflow: through the cache, as little and as much at a time as goes."""
