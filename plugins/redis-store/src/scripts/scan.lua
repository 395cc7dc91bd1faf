-- ARGV[2]: the command, ARGV[3], ARGV[4]: its bounds, ARGV[5]: rows at the most; ARGV[6]: bytes of rows behind which one
-- more ends the page.
local keys = redis.call(ARGV[2], KEYS[2], ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[5])
local bytes_max = tonumber(ARGV[6])
local found, count, bytes = {}, 0, 0
for _, key in ipairs(keys) do
    local full = bytes >= bytes_max
    local value = redis.call('HGET', KEYS[3], key)
    found[count + 1] = key
    found[count + 2] = value
    count = count + 2
    if full then break end
    bytes = bytes + #key + #value
end
return {'ok', position, found}
