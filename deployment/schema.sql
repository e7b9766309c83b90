-- The role's name leads the search path, so the migrations' own table is looked
-- for here once the schema exists. It has to before they first run, or a second
-- run does not find what the first one has noted, and fails.
CREATE SCHEMA tasker;
