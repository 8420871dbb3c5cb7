"""What is passed on and never stored: typing and call signals."""
