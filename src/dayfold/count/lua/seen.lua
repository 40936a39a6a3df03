-- A client tells the tallies that it saw last of an epoch that ended. KEYS: base. ARGV: epoch, tallies in JSON with 'adds' among them.
-- With empty tallies: what is known of that epoch was taken note of.
if ARGV[2] == '' then return redis.call('HDEL', base .. 'seen', ARGV[1]) end
local known = redis.call('HGET', base .. 'seen', ARGV[1])
if known and cjson.decode(known).adds >= cjson.decode(ARGV[2]).adds then return 0 end
redis.call('HSET', base .. 'seen', ARGV[1], ARGV[2])
return 1
