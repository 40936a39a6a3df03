-- A client tells the tallies that it saw last of an epoch that ended. KEYS: base. ARGV: epoch, tallies in JSON with '*' among them, and
-- 'told'; or 'noted': the store has these, and what was told is forgotten unless more was told meanwhile.
local known = redis.call('HGET', base .. 'seen', ARGV[1])
local is_more = not known or cjson.decode(known)['*'] < cjson.decode(ARGV[2])['*']
if ARGV[3] == 'noted' then
  if known and (is_more or cjson.decode(known)['*'] == cjson.decode(ARGV[2])['*']) then redis.call('HDEL', base .. 'seen', ARGV[1]) end
  return 0
end
if is_more then redis.call('HSET', base .. 'seen', ARGV[1], ARGV[2]) end
return 0
