package rediskv

import "github.com/redis/go-redis/v9"

// Scripts run at the server, each as one step. Those that write may only write
// values where the server has room: Redis refuses them when it is full, unless
// they are flagged allow-oom.
//
// Entries are compared as numbers of six bytes: Lua compares strings as the
// server's locale sorts them, and its numbers have 53 bits.

// fence is what scripts begin with that write, so that they do not write into a
// namespace that another process has taken while this one was not looking, or
// that was lost. The last of KEYS is the guard, and ARGV[1] is what it must say;
// where that is empty, it must be there.
const fence = `
local guard = redis.call('GET', KEYS[#KEYS])
if not guard or ARGV[1] ~= '' and guard ~= ARGV[1] then
  return redis.error_reply('LEASE of the namespace is not held')
end
local last = #KEYS - 1
`

// shared is what the scripts that write entries have in common. It keeps the
// counts in step with the entries.
const shared = `
local call, unpack = redis.call, struct.unpack
local counts, expiry, seconds, pages = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local entries, keys, bytes = 0, 0, 0 -- what came to be more

-- about returns of an encoded entry whether it is a tombstone, its expiry or 0,
-- and how long its value is.
local function about(e)
  local flags, b = e:byte(17, 18)
  if flags == 0 and b and b < 128 then -- most are like that
    return false, 0, #e - 18 - b
  end
  local at, expires = 18, 0
  flags = flags or 128
  if flags % 2 == 1 and #e >= 25 then
    local hi, lo = unpack('>i4I4', e, 18)
    expires, at = hi * 4294967296 + lo, 26
  end
  local length, scale = 0, 1
  repeat
    b = e:byte(at) or 0
    length, scale, at = length + b % 128 * scale, scale * 128, at + 1
  until b < 128
  return flags >= 128, expires, #e - at + 1 - length
end

local function add(hash, field, n)
  if call('HINCRBY', hash, field, n) == 0 then
    call('HDEL', hash, field)
  end
end

-- count counts an entry (sign is 1) or takes it back (-1).
local function count(key, e, sign)
  local deleted, expires, size = about(e)
  if deleted then
    return
  end
  size = sign * (#key + size)
  if expires == 0 then
    keys, bytes = keys + sign, bytes + size
    return
  end
  local second = math.ceil(expires / 1000)
  add(seconds, second, size)
  add(seconds, 'm' .. math.floor(second / 32), size)
  add(pages, math.floor(second / 1024), size)
  if sign == 1 then
    call('ZADD', expiry, expires, key)
  else
    call('ZREM', expiry, key)
  end
end

local function done()
  if entries ~= 0 then call('HINCRBY', counts, 'entries', entries) end
  if keys ~= 0 then call('HINCRBY', counts, 'keys', keys) end
  if bytes ~= 0 then call('HINCRBY', counts, 'bytes', bytes) end
end
`

// applyBody offers entries. KEYS are the books of a group and the partition of
// each entry; ARGV is, behind what fence takes, 1 where there is room for
// values, then key and entry of each. For each it returns what was held before:
// the rank of that where the entry took its place, an empty string where the
// entry was taken and there was none (or what nobody can read), the version
// alone where the entry lost; and nil where there is no room.
const applyBody = `
local function supersedes(e, old)
  if #old < 17 then return true end
  local a1, b1 = unpack('>I6', e), unpack('>I6', old)
  if a1 ~= b1 then return a1 > b1 end
  local _, a2, a3, a4 = unpack('>I6I6I4B', e)
  local _, b2, b3, b4 = unpack('>I6I6I4B', old)
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  return a4 >= 128 and b4 < 128
end

local room, was = ARGV[2] == '1', {}
for i = 5, last do
  local key, e = ARGV[2 * i - 7], ARGV[2 * i - 6]
  local old = call('HGET', KEYS[i], key)
  if old and not supersedes(e, old) then
    was[i - 4] = old:sub(1, 16)
  elseif not room and e:byte(17) < 128 then
    was[i - 4] = false
  else
    call('HSET', KEYS[i], key, e)
    if old then count(key, old, -1) else entries = entries + 1 end
    count(key, e, 1)
    was[i - 4] = old and #old >= 17 and old:sub(1, 17) or ''
  end
end
done()
return was
`

// purgeBody removes entries. KEYS are the books of a group and the partition of
// each key; ARGV is, behind what fence takes, key and version of each. For each
// it returns 1 where the entry was there in this version, and 0 where not.
const purgeBody = `
local purged = {}
for i = 5, last do
  local key = ARGV[2 * i - 8]
  local old = call('HGET', KEYS[i], key)
  purged[i - 4] = 0
  if old and #old >= 17 and old:sub(1, 16) == ARGV[2 * i - 7] then
    call('HDEL', KEYS[i], key)
    count(key, old, -1)
    entries = entries - 1
    purged[i - 4] = 1
  end
end
done()
return purged
`

// sweepBody makes expired entries tombstones of the same version and expiry.
// KEYS are the books of a group and the partition of each key; ARGV is,
// behind what fence takes, the time, then the keys. It returns how many there were.
const sweepBody = `
local now, swept = tonumber(ARGV[2]), 0
for i = 5, last do
  local key = ARGV[i - 2]
  local old = call('HGET', KEYS[i], key)
  local deleted, expires = true, 0
  if old then deleted, expires = about(old) end
  if deleted or expires == 0 then
    call('ZREM', expiry, key)
  elseif expires <= now then
    call('HSET', KEYS[i], key,
      old:sub(1, 16) .. string.char(old:byte(17) + 128) .. old:sub(18, 25) .. '\0')
    count(key, old, -1)
    swept = swept + 1
  end
end
done()
return swept
`

// statsBody counts a group. KEYS are its books, ARGV is the time in whole
// seconds. It returns the entries, the live keys, and their bytes.
const statsBody = `
local counts, expiry, seconds, pages = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = tonumber(ARGV[1])
local sum = redis.call('HMGET', counts, 'entries', 'keys', 'bytes')
local entries, keys, bytes = tonumber(sum[1] or 0), tonumber(sum[2] or 0), tonumber(sum[3] or 0)
local expiring = redis.call('ZCARD', expiry)
if expiring > 0 then
  keys = keys + expiring - redis.call('ZCOUNT', expiry, '-inf', now * 1000)
  -- What expires later: the rest of this minute's seconds, of this page's
  -- minutes (they have 32 seconds), and of the pages.
  local minute, page, rest = math.floor(now / 32), math.floor(now / 1024), {}
  for second = now + 1, minute * 32 + 31 do rest[#rest + 1] = second end
  for later = minute + 1, page * 32 + 31 do rest[#rest + 1] = 'm' .. later end
  if #rest > 0 then
    for _, n in ipairs(redis.call('HMGET', seconds, unpack(rest))) do
      bytes = bytes + tonumber(n or 0)
    end
  end
  local all = redis.call('HGETALL', pages)
  for i = 1, #all, 2 do
    if tonumber(all[i]) > page then bytes = bytes + tonumber(all[i + 1]) end
  end
end
return {entries, keys, bytes}
`

// leaseBody takes or renews the lease. KEYS are lease, format and beat; ARGV is
// the holder, for how many milliseconds, the beat that was there last, and the
// format of a new namespace, or an empty string where there must be one. It
// returns who else holds the lease and for how many milliseconds yet; or an empty
// string, the beat that there is now, and the format that was there. The beat is
// 0 where the namespace is gone or was set back, and then nothing is written.
const leaseBody = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {holder, redis.call('PTTL', KEYS[1]), ''}
end
local format, beat = redis.call('GET', KEYS[2]), tonumber(redis.call('GET', KEYS[3]) or 0)
if beat < tonumber(ARGV[3]) or not format and ARGV[4] == '' then
  return {'', 0, format or ''}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if not format then
  redis.call('SET', KEYS[2], ARGV[4])
end
return {'', redis.call('INCR', KEYS[3]), format or ''}
`

// releaseBody gives the lease back, where it is ours.
const releaseBody = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 0
`

// dropBody gives the lease back and drops the metadata, unless the lease is
// another's. KEYS are lease and metadata, ARGV the holder.
const dropBody = `
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
end
return 0
`

// markBody counts a mark up and returns what it says now, or 0 where it says
// less than ARGV[1]; then nothing is written.
const markBody = `
local mark = redis.call('GET', KEYS[1]) or '0'
if tonumber(mark) < tonumber(ARGV[1]) then
  return 0
end
return redis.call('INCR', KEYS[1])
`

// saveBody saves metadata.
const saveBody = `
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 0
`

const (
	headPlain    = "#!lua\n"
	headFull     = "#!lua flags=allow-oom\n" // it may write where the server is full
	headReadOnly = "#!lua flags=no-writes\n"
)

// scripts is the scripts with their digests.
type scripts struct {
	apply, applyFull, purge, sweep, stats, lease, release, drop, mark, save *redis.Script
}

func newScripts() scripts {
	return scripts{
		apply:     redis.NewScript(headPlain + fence + shared + applyBody),
		applyFull: redis.NewScript(headFull + fence + shared + applyBody),
		purge:     redis.NewScript(headFull + fence + shared + purgeBody),
		sweep:     redis.NewScript(headFull + fence + shared + sweepBody),
		stats:     redis.NewScript(headReadOnly + statsBody),
		lease:     redis.NewScript(headFull + leaseBody),
		release:   redis.NewScript(headFull + releaseBody),
		drop:      redis.NewScript(headFull + dropBody),
		mark:      redis.NewScript(headFull + markBody),
		save:      redis.NewScript(headFull + fence + saveBody),
	}
}
