"""Output for people and programs: plans, progress and results as text, or as one JSON object a line."""
