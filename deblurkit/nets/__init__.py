"""Networks that components are made of. Plain modules: no losses, no loops, no files."""
