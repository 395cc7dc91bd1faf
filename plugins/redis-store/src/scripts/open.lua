-- Takes the store for an epoch. What is not whole is emptied: half a store is worse than none. It stands then where no host
-- has put it, so that the host does not take it for a new one.
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch > ARGV[1] then return {'newer'} end
local rows = tonumber(redis.call('HGET', KEYS[1], 'rows') or 0)
local whole = redis.call('ZCARD', KEYS[2]) == rows and redis.call('HLEN', KEYS[3]) == rows
if not whole then
    redis.call('DEL', KEYS[1])
    redis.call('UNLINK', KEYS[2], KEYS[3])
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if not whole then redis.call('HSET', KEYS[1], 'position', 'emptied') end
return {'ok', whole and 1 or 0}
