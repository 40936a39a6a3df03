-- Adds amounts. KEYS: base. ARGV: client, number of the call, epoch in which it may be made (empty: any), how many adds; then for each add
-- its day, key and owner in JSON (an empty owner leaves it as it is), id (or empty), how many totals, and each total with its amount.
-- Returns: 'ok', the epoch, the places of the adds that were not added each with why, and the tallies of what was accepted. 'again' with the
-- same: the call was made before, and its answer was lost. 'moved': its epoch has ended, and it was not made as far as is known.
local epoch = turn()
local client, call = ARGV[1], tonumber(ARGV[2])
local calls
if client ~= '' then
  -- Numbers of yesterday's calls are gone after two days. This comes before the epoch is looked at: what was made stays made.
  local today = math.floor(tonumber(redis.call('TIME')[1]) / 86400)
  calls = base .. 'calls:' .. today
  local last = redis.call('HGET', calls, client) or redis.call('HGET', base .. 'calls:' .. (today - 1), client)
  if last then
    local number, places = string.match(last, '^(%d+) ?(.*)$')
    if tonumber(number) >= call then
      local refused = tonumber(number) == call and places ~= '' and cjson.decode(places) or {}
      return {'again', epoch, refused, redis.call('HGETALL', accepted)}
    end
  end
end
if ARGV[3] ~= '' and ARGV[3] ~= epoch then return {'moved', epoch, {}, {}} end
if calls then
  redis.call('HSET', calls, client, call)
  redis.call('EXPIRE', calls, 172800)
end

local function opposite(amount)
  if amount == '0' then return amount end
  return string.sub(amount, 1, 1) == '-' and string.sub(amount, 2) or '-' .. amount
end

-- A whole number as JSON has it, beyond the lowest of 64 bits and up to the highest.
local function fits(amount)
  local digits = string.match(amount, '^-?([1-9]%d*)$')
  if not digits then return amount == '0' end
  return #digits < 19 or (#digits == 19 and digits <= '9223372036854775807')
end

-- Sums may pass 64 bits: they are kept as a number of billions and a rest.
local function tally(name, amount)
  local sign, digits = string.match(amount, '^(-?)0*(%d+)$')
  if #digits > 9 then
    redis.call('HINCRBY', accepted, name .. ':high', sign .. string.sub(digits, 1, -10))
    digits = string.match(string.sub(digits, -9), '^0*(%d+)$')
  end
  if digits ~= '0' then redis.call('HINCRBY', accepted, name .. ':low', sign .. digits) end
end

-- What is the same for many adds is made once; small amounts are added up here, and tallied in the end.
local open, owners = base .. 'open', base .. 'owners'
local refused, at, adds = {}, 5, 0
local names, sums, owned = {}, {}, {}
for place = 0, tonumber(ARGV[4]) - 1 do
  local day, key, owner, id, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local first, last = at + 5, at + 4 + 2 * count
  at = last + 1
  local why, done = nil, first - 2
  local head = '["' .. day .. '",' .. key
  for i = first, last, 2 do
    if not fits(ARGV[i + 1]) then why = 'amount' end
    if not names[ARGV[i]] then names[ARGV[i]] = cjson.encode(ARGV[i]) end
  end
  if why == nil and id ~= '' then
    local parts = {}
    for i = first, last, 2 do parts[#parts + 1] = names[ARGV[i]] .. ':' .. ARGV[i + 1] end
    local body = head .. ',' .. (owner == '' and 'null' or owner) .. ',{' .. table.concat(parts, ',') .. '}]'
    if redis.call('HSETNX', base .. 'named', id, body) == 0 then why = 'repeated' end
  elseif why == nil then
    for i = first, last, 2 do
      if type(redis.pcall('HINCRBY', open, head .. ',' .. names[ARGV[i]] .. ']', ARGV[i + 1])) == 'table' then
        why = 'overflow'
        break
      end
      done = i
    end
    if why ~= nil then
      for i = first, done, 2 do
        redis.call('HINCRBY', open, head .. ',' .. names[ARGV[i]] .. ']', opposite(ARGV[i + 1]))
      end
    elseif owner ~= '' and owned[head] ~= owner then
      redis.call('HSET', owners, head .. ']', owner)
      owned[head] = owner
    end
  end
  if why == nil then
    for i = first, last, 2 do
      if #ARGV[i + 1] < 10 then
        sums[ARGV[i]] = (sums[ARGV[i]] or 0) + tonumber(ARGV[i + 1])
      else
        tally(ARGV[i], ARGV[i + 1])
      end
    end
    adds = adds + 1
  else
    refused[#refused + 1] = tostring(place)
    refused[#refused + 1] = why
  end
end
for name, sum in pairs(sums) do
  if sum ~= 0 then tally(name, string.format('%.0f', sum)) end
end
if adds > 0 then redis.call('HINCRBY', accepted, '*', adds) end
if calls and #refused > 0 then redis.call('HSET', calls, client, call .. ' ' .. cjson.encode(refused)) end
return {'ok', epoch, refused, redis.call('HGETALL', accepted)}
