-- What every script of the contract begins with. KEYS[1] is the base of one shard's keys.
local base = KEYS[1]
local state, accepted, sealed = base .. 'state', base .. 'accepted', base .. 'sealed'

-- The open batch becomes a sealed one, which nobody adds to any more.
local function close(epoch, ended)
  local number = redis.call('HINCRBY', state, 'batch', 1)
  local name = base .. 'batch:' .. epoch .. ':' .. number .. ':'
  for _, part in ipairs({'open', 'owners', 'named'}) do
    if redis.call('EXISTS', base .. part) == 1 then
      redis.call('RENAME', base .. part, name .. part)
    end
  end
  redis.call('RPUSH', sealed, cjson.encode({
    epoch = epoch, number = number, ended = ended, accepted = redis.call('HGETALL', accepted),
  }))
end

-- An epoch is one life of this shard's data in one run of the server. Whatever a restart brought back is sealed before anything new
-- is added, so that what was applied before it can be told from what was not.
local function turn()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local known = redis.call('HMGET', state, 'run', 'epoch')
  if known[1] == run then return known[2] end
  local time = redis.call('TIME')
  local epoch = run .. '-' .. time[1] .. '.' .. time[2]
  if known[2] then close(known[2], true) end
  redis.call('DEL', state, accepted)
  redis.call('HSET', state, 'run', run, 'epoch', epoch, 'before', known[2] or '')
  return epoch
end
