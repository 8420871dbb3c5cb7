"""Tortoise's own migration modules."""
