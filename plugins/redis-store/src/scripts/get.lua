-- ARGV[2]: keys, each behind its length; ARGV[3]: bytes of values behind which the rest is left out.
local keys, bytes_max = ARGV[2], tonumber(ARGV[3])
local found, count, bytes, at = {}, 0, 0, 1
while at <= #keys and bytes < bytes_max do
    local len
    len, at = struct.unpack('<I4', keys, at)
    local value = redis.call('HGET', KEYS[3], string.sub(keys, at, at + len - 1))
    at = at + len
    count = count + 1
    found[count] = value
    bytes = bytes + (value and #value or 0)
end
return {'ok', position, found}
