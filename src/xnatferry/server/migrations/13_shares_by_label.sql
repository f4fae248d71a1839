-- shares by label
CREATE INDEX shares_by_label ON shares (project, label);
DROP INDEX shares_into;
