-- Tells how a shard stands and changes nothing. KEYS: base.
-- Returns: the epoch, the one before it, the sealed batches in JSON, the tallies, what clients saw of earlier epochs, and what is open:
-- amounts, and adds with ids; and the number of the last batch.
return {
  redis.call('HGET', state, 'epoch') or '', redis.call('HGET', state, 'before') or '', redis.call('LRANGE', sealed, 0, -1),
  redis.call('HGETALL', accepted), redis.call('HGETALL', base .. 'seen'), redis.call('HGETALL', base .. 'open'),
  redis.call('HVALS', base .. 'named'), redis.call('HGET', state, 'batch') or '0',
}
