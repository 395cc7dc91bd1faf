-- In front of each script that works on an open store. KEYS: place, order, values; ARGV[1]: the epoch, in 20 digits.
-- Whether the store is the caller's, and whole; then where it stands.
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch > ARGV[1] then return {'newer'} end
if epoch < ARGV[1] then return {'gone'} end
local rows = tonumber(redis.call('HGET', KEYS[1], 'rows') or 0)
if redis.call('ZCARD', KEYS[2]) ~= rows or redis.call('HLEN', KEYS[3]) ~= rows then return {'gone'} end
local position = redis.call('HGET', KEYS[1], 'position') or ''
