"""The front door: aiohttp application, handlers, live sockets."""
