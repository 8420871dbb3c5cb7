"""Shapes of requests, responses and frames that several parts of web share."""
