"""The archive of a history (docs/history.md): its frames and their sealing, export from a store and import into one."""
