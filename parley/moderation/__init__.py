"""What may be said: warn, block or allow. So far by rules; a classifier that learns comes beside them."""
