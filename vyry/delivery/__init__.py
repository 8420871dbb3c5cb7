"""SMS and push services, and the operator's webhooks."""
