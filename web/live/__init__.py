"""Live sockets: frames, sessions, the switchboard."""
