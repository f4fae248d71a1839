"""The vocabulary that client and server share: pure, no disk, no network."""
