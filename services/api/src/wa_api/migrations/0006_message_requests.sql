-- The request that made the message: a repeat's answer that is read here names an earlier one.
ALTER TABLE messages ADD COLUMN correlation_id uuid;
