-- What is wrong with a dead letter that cannot be read; null if it can be: then the log says more.
ALTER TABLE dead_letters ADD COLUMN cause text;
