"""Sockets: the upgrade, frames and their codecs, sessions, and the hub with the loops that collect and deliver."""
