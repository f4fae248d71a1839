"""Pure: where sources belong, and what a push would do. No disk, no network, no clock."""
