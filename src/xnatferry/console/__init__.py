"""What people and programs see: plans, progress and results as text, or as one JSON object a line."""
