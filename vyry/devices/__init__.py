"""Devices, the device list, prekeys."""
