-- After the trigger exists: what ends during this statement leaves a row too many at most.
INSERT INTO open_messages (stream, partition, position)
SELECT stream, partition, max(position) FILTER (WHERE type = 'message.queued')
FROM events JOIN partitions USING (partition)
WHERE position >= open_position AND stream LIKE 'message-%'
GROUP BY stream, partition
HAVING max(stream_version) FILTER (WHERE type = 'message.queued')
     > coalesce(max(stream_version) FILTER (WHERE type IN
           ('message.sent', 'message.failed', 'message.unknown', 'message.cancelled')), 0)
ON CONFLICT (stream) DO NOTHING;
