-- Tasks that staleness put to error while steps of theirs were running: a start
-- looks for them, however many finished tasks there are.
CREATE INDEX tasks_failed ON tasks (id) WHERE state = 'error';
