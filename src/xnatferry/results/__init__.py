"""What is on a server, brought to people: trees, tables, files."""
