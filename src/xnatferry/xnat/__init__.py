"""Types and formats that client and server share. Pure: no disk, no network."""
