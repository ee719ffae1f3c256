-- What an operator chose for a session, as in its newest session.updated.
ALTER TABLE sessions ADD COLUMN options jsonb;
