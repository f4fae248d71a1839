-- names of catalogs
ALTER TABLE resources ADD COLUMN catalog TEXT NOT NULL DEFAULT '';
