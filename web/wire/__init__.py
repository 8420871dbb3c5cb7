"""Request and answer shapes of the REST surface."""
