"""The HTTP and WebSocket server: aiohttp application, REST API, sockets."""
