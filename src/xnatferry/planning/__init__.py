"""Maps sources to addresses, and plans pushes. Pure: no disk, no network, no clock."""
