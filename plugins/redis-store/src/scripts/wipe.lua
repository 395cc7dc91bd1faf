-- The epoch stays, so that an earlier owner finds that it is not its own any more.
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch > ARGV[1] then return {'newer'} end
redis.call('DEL', KEYS[1])
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
return {'ok'}
