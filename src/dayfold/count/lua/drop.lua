-- Forgets a batch that was applied. KEYS: base. ARGV: its line among the sealed ones. Again is harmless.
local batch = cjson.decode(ARGV[1])
local name = base .. 'batch:' .. batch.epoch .. ':' .. string.format('%d', batch.number) .. ':'
redis.call('DEL', name .. 'open', name .. 'owners', name .. 'named')
return redis.call('LREM', sealed, 1, ARGV[1])
