"""The keys of this profile and of others: sessions, sender keys, group keys, device lists, pins and prekeys. It applies `vyry.signal_protocol` to what the store holds."""
