-- Tells what a sealed batch holds. KEYS: base. ARGV: its line among the sealed ones.
-- Returns: amounts, owners, and adds with ids; nothing where there is no such batch: it was dropped, or lost.
if not redis.call('LPOS', sealed, ARGV[1]) then return {} end
local batch = cjson.decode(ARGV[1])
local name = base .. 'batch:' .. batch.epoch .. ':' .. string.format('%d', batch.number) .. ':'
return {redis.call('HGETALL', name .. 'open'), redis.call('HGETALL', name .. 'owners'), redis.call('HGETALL', name .. 'named')}
