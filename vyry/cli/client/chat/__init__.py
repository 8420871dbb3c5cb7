"""`vyry client chat`: the full-screen client. It is imported when it runs: the other commands never load textual."""
