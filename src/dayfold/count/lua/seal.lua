-- Seals what is open unless many batches are sealed already, and tells all of these, the oldest first. KEYS: base. ARGV: how many are many.
-- Returns: the epoch, the one before it, the sealed batches in JSON, the tallies, and what clients saw of earlier epochs.
local epoch = turn()
if redis.call('EXISTS', base .. 'open', base .. 'named') > 0 and redis.call('LLEN', sealed) < tonumber(ARGV[1]) then close(epoch, false) end
-- A rest that has grown long becomes billions.
local tallies = redis.call('HGETALL', accepted)
for i = 1, #tallies, 2 do
  local name, low = string.match(tallies[i], '^(.*):low$'), tallies[i + 1]
  if name and #low > 17 then
    local sign, digits = string.match(low, '^(-?)(%d+)$')
    redis.call('HINCRBY', accepted, name .. ':high', sign .. string.sub(digits, 1, -10))
    local rest = string.match(string.sub(digits, -9), '^0*(%d+)$')
    redis.call('HSET', accepted, name .. ':low', rest == '0' and '0' or sign .. rest)
  end
end
return {
  epoch, redis.call('HGET', state, 'before') or '', redis.call('LRANGE', sealed, 0, -1), redis.call('HGETALL', accepted),
  redis.call('HGETALL', base .. 'seen'),
}
