"""What an agent may ask of mtr: commands that start at once and are read in pieces, files, servers."""
