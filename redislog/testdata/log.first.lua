-- The log of a hub in Redis. Everything that changes it is here, so that each
-- change is atomic and any Redis client may publish:
--
--   EVAL <this text> 4 {name}:log {name}:meta {name}:ids {name}:ids.before
--     append <message ID> <max entries> <max bytes> <max age> <duplicates>
--     <field> <value> ...
--
-- returns the entry's position. The message ID is any text that tells this entry
-- from all others, or empty; ages are milliseconds; 0 is no bound. The fields are
-- topic, type, data, retry (milliseconds) and end (1), each only if it is needed.
--
--   EVAL <this text> 4 (the same keys) bounds <any fresh text> <position>
--
-- returns the epoch, the position of the oldest entry, that of the newest and its
-- time, empty if there was none, and the time of the entry at the given position,
-- empty if it is not there.
--
-- {name}:log         stream: the entries, by position: 1-0, 2-0, ...
-- {name}:meta        hash: what must outlive the entries
-- {name}:ids         hash: message ID -> position, those of late
-- {name}:ids.before  hash: the same, those before

local log, meta, ids, before = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Lua would write large numbers with an exponent.
local function text(number) return string.format('%.0f', number) end

-- begin makes a new life of the log. Entries of an earlier one stay, but the new
-- one counts on beyond them: they are its history, under its epoch.
local function begin()
  local last = 0
  local info = redis.pcall('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = tonumber(string.match(info[i + 1], '^%d+'))
    end
  end
  local epoch = string.sub(redis.sha1hex(text(now) .. ' ' .. ARGV[2]), 1, 20)
  redis.call('DEL', meta, ids, before)
  redis.call('HSET', meta, 'epoch', epoch, 'last', text(last))
  return {epoch, text(last)}
end

-- A replica, or a master that is none any more, must not answer. The other
-- reasons for which Redis refuses to write are none for refusing to read.
local function demandMaster()
  local persisted = redis.pcall('PERSIST', meta)
  if type(persisted) == 'table' and string.find(persisted.err, 'READONLY', 1, true) then
    return persisted
  end
end

local function bounds(position)
  local refused = demandMaster()
  if refused then return refused end
  local life = redis.call('HMGET', meta, 'epoch', 'last', 'time')
  if not (life[1] and life[2]) then life = begin() end
  local last = tonumber(life[2])
  local first = last + 1
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if oldest then first = tonumber(string.match(oldest[1], '^%d+')) end
  local time = ''
  local entry = redis.call('XRANGE', log, position .. '-0', position .. '-0')[1]
  if entry and entry[2][1] == 'time' then
    time = entry[2][2]
  elseif life[3] and position == life[2] then
    time = life[3]
  end
  return {life[1], first, last, life[3] or '', time}
end

-- known looks the message up. What it finds is nothing when that position is
-- another message's by now: the IDs were not rolled back together with the log.
local function known(id, last)
  if id == '' then return false end
  local position = redis.call('HGET', ids, id) or redis.call('HGET', before, id)
  if not position or tonumber(position) > last then return false end
  local entry = redis.call('XRANGE', log, position .. '-0', position .. '-0')[1]
  for i = 1, entry and #entry[2] or 0, 2 do
    if entry[2][i] == 'id' and entry[2][i + 1] ~= id then return false end
  end
  return tonumber(position)
end

-- remember keeps the message ID for at least that time, in the newer of two
-- generations. Both expire by themselves; and neither grows without end.
local function remember(id, position, window)
  if id == '' or window <= 0 then return end
  local left = redis.call('PTTL', ids)
  local full = position % 1024 == 0 and redis.call('HLEN', ids) >= 262144
  if left ~= -2 and (left < window or full) then
    redis.call('UNLINK', before) -- RENAME would free it at once, however large
    redis.call('RENAME', ids, before)
    left = -2
  end
  redis.call('HSET', ids, id, text(position))
  if left == -2 then redis.call('PEXPIRE', ids, text(2 * window)) end
end

-- trim keeps the log within its bytes and its age. So that it need not read old
-- entries to know, each sixteenth of a bound sets a mark: position, time, and
-- bytes before it; and whole sixteenths go.
local function trim(state, position, size, bytes, age)
  if bytes <= 0 and age <= 0 then return end
  local due = not state.marked or (age > 0 and (now - state.marked) * 16 >= age) or
    (bytes > 0 and ((state.bytes - state.markedBytes) * 16 >= bytes or state.bytes - state.floor > bytes))
  if not due then return end
  local marks = redis.call('HGET', meta, 'marks') or ''
  marks = marks .. text(position) .. ' ' .. text(now) .. ' ' .. text(state.bytes - size) .. ';'
  local from = 1
  while true do
    local start, stop, at, time, total = string.find(marks, '(%d+) (%d+) (%d+);', from)
    local old = age > 0 and (now - tonumber(time)) * 16 > age * 15
    local much = bytes > 0 and (state.bytes - tonumber(total)) * 16 > bytes * 15
    if not (old or much) or stop == #marks then
      if start > 1 then redis.call('XTRIM', log, 'MINID', at .. '-0') end
      redis.call('HSET', meta, 'marks', string.sub(marks, start), 'marked', text(now),
        'markedBytes', text(state.bytes), 'floor', total)
      return
    end
    from = stop + 1
  end
end

local function append(id, entries, bytes, age, window)
  local life = redis.call('HMGET', meta, 'epoch', 'last', 'time', 'bytes', 'marked', 'markedBytes', 'floor')
  if not (life[1] and life[2]) then life = begin() end
  local last = tonumber(life[2])
  local duplicate = known(id, last)
  if duplicate then return duplicate end

  local function add()
    local command = {'XADD', log}
    if entries > 0 then command = {'XADD', log, 'MAXLEN', text(entries)} end
    command[#command + 1] = text(last + 1) .. '-0'
    local function field(name, value)
      command[#command + 1] = name
      command[#command + 1] = value
    end
    -- Each entry names the one before, so that readers know that it follows.
    field('time', text(now))
    if life[3] then field('prev', life[3]) else field('epoch', life[1]) end
    if id ~= '' then field('id', id) end
    for i = 7, #ARGV do command[#command + 1] = ARGV[i] end
    return redis.pcall(unpack(command))
  end
  local added = add()
  if type(added) == 'table' and string.find(added.err, 'equal or smaller', 1, true) then
    -- The stream is ahead of what we know: one of the two was restored alone.
    life = begin()
    last = tonumber(life[2])
    added = add()
  end
  if type(added) == 'table' then return added end

  local position, size = last + 1, 0
  for i = 7, #ARGV do size = size + #ARGV[i] end
  local state = {
    bytes = tonumber(life[4] or 0) + size,
    marked = life[5] and tonumber(life[5]),
    markedBytes = tonumber(life[6] or 0),
    floor = tonumber(life[7] or 0),
  }
  redis.call('HSET', meta, 'last', text(position), 'time', text(now), 'bytes', text(state.bytes))
  remember(id, position, window)
  trim(state, position, size, bytes, age)
  return position
end

if ARGV[1] == 'bounds' then return bounds(ARGV[3]) end
if ARGV[1] == 'append' then
  return append(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]) * 1000, tonumber(ARGV[6]))
end
return redis.error_reply('ERR append or bounds?')
