"""Who may write to whom: conversations."""
