"""Whether decisions can be carried out, checked the plain way, with reasons."""
