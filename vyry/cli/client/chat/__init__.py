"""`vyry client chat`: the full-screen client. Imported only when it runs: the other commands do not load Textual."""
