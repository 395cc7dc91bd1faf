-- ARGV[2]: from, ARGV[3]: to, ARGV[4]: writes, each: key length, value length (-1: delete), key, value.
-- No two writes leave the same position: one that stands there was done, and nobody was told.
if position == ARGV[3] then return {'ok'} end
if position ~= ARGV[2] then return {'elsewhere', position} end
local writes, at = ARGV[4], 1
while at <= #writes do
    local key_len, value_len
    key_len, value_len, at = struct.unpack('<I4i4', writes, at)
    local key = string.sub(writes, at, at + key_len - 1)
    at = at + key_len
    if value_len < 0 then
        if redis.call('HDEL', KEYS[3], key) == 1 then
            redis.call('ZREM', KEYS[2], key)
            rows = rows - 1
        end
    else
        if redis.call('HSET', KEYS[3], key, string.sub(writes, at, at + value_len - 1)) == 1 then
            redis.call('ZADD', KEYS[2], 0, key)
            rows = rows + 1
        end
        at = at + value_len
    end
end
redis.call('HSET', KEYS[1], 'position', ARGV[3], 'rows', rows)
return {'ok'}
