-- what a rename was
ALTER TABLE renames ADD COLUMN action TEXT NOT NULL DEFAULT 'Renamed';
