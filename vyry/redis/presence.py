"""Leases of presence in Redis.

An online account has a hash: mailbox -> "connection:end of its lease", by the clock of Redis. A watched account has another hash: channel of a node -> end of
the watch. The script that changes the state of an account publishes it to the watching nodes in the same step.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from vyry.kernel.batches import batched
from vyry.kernel.ids import UserId
from vyry.redis.guard import RedisGuard
from vyry.redis.hints import HintKind
from vyry.signals.presence import DeviceSocket, PresenceState, PresenceTiming


#: Accounts of one call: two keys each, far below what Lua can unpack.
_BATCH: Final = 250

#: `ends` returns when the last lease of an account ends, or 0. A lease that is longer than a lease was written before the clock was set back.
_LUA_PRESENCE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stamp = string.format('%.0f', clock[1] * 1000000 + clock[2])
local lease, grace, what = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function ends(key)
  local latest, fields = 0, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local last = tonumber(string.match(fields[i + 1], ':(%d+)$'))
    if last <= now or last > now + lease then redis.call('HDEL', key, fields[i]) else latest = math.max(latest, last) end
  end
  return latest
end
local news = {}
local function tell(watchers, user, last)
  local item = user .. ':' .. string.format('%.0f', math.max(0, last - now))
  local channels = redis.call('HGETALL', watchers)
  for i = 1, #channels, 2 do
    if tonumber(channels[i + 1]) <= now then
      redis.call('HDEL', watchers, channels[i])
    else
      local items = news[channels[i]] or {stamp}
      items[#items + 1] = item
      news[channels[i]] = items
    end
  end
end
local function send()
  for channel, items in pairs(news) do
    local text = table.concat(items, ' ')
    redis.call('PUBLISH', channel, struct.pack('>BI4', what, #text) .. text)
  end
end
local function write(key, mailbox, connection, last)
  redis.call('HSET', key, mailbox, connection .. ':' .. string.format('%.0f', last))
  redis.call('PEXPIRE', key, lease)
end
"""

#: KEYS: for each socket its account's leases and watchers. ARGV: lease and grace in milliseconds, the kind of hint, then for each mailbox, connection, account.
CLAIM_SCRIPT: Final = (
    _LUA_PRESENCE
    + """
for i = 1, #KEYS / 2 do
  local key, mailbox, connection, user = KEYS[2 * i - 1], ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  local last = ends(key)
  local held = string.match(redis.call('HGET', key, mailbox) or '', '^(%d+):')
  if not held or tonumber(held) <= tonumber(connection) then
    write(key, mailbox, connection, now + lease)
    if last - now < lease / 2 then tell(KEYS[2 * i], user, now + lease) end
  end
end
send()
return 0
"""
)

#: The same for sockets that close.
LEAVE_SCRIPT: Final = (
    _LUA_PRESENCE
    + """
for i = 1, #KEYS / 2 do
  local key, mailbox, connection, user = KEYS[2 * i - 1], ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  local before = ends(key)
  local held, last = string.match(redis.call('HGET', key, mailbox) or '', '^(%d+):(%d+)$')
  if held and tonumber(held) <= tonumber(connection) then
    write(key, mailbox, connection, math.min(tonumber(last), now + grace))
    local after = ends(key)
    if after < before then tell(KEYS[2 * i], user, after) end
  end
end
send()
return 0
"""
)

#: KEYS: for each account its leases and watchers. ARGV: as above, then the channel of the node. Returns the stamp, then for how many milliseconds each is online.
WATCH_SCRIPT: Final = (
    _LUA_PRESENCE
    + """
local answer = {stamp}
for i = 1, #KEYS / 2 do
  redis.call('HSET', KEYS[2 * i], ARGV[4], string.format('%.0f', now + lease))
  redis.call('PEXPIRE', KEYS[2 * i], lease)
  answer[i + 1] = math.max(0, ends(KEYS[2 * i - 1]) - now)
end
return answer
"""
)

#: KEYS: the watchers of each account. ARGV: the node's channel.
UNWATCH_SCRIPT: Final = """
for _, key in ipairs(KEYS) do redis.call('HDEL', key, ARGV[1]) end
return 0
"""


def parse_states(news: bytes) -> dict[UserId, PresenceState]:
    """The states in a presence hint, which the notifier of this node receives. Raises ValueError for the format of another version."""
    stamp, *items = news.decode().split(" ")
    pairs = (item.split(":") for item in items)
    return {UserId(UUID(user)): PresenceState(int(left) / 1000, int(stamp)) for user, left in pairs}


class RedisPresence:
    """PresenceLeases over Redis. Redis publishes changes to the channels of the nodes that watch."""

    def __init__(self, guard: RedisGuard, pace: PresenceTiming, *, channel: str, prefix: str = "vyry") -> None:
        self._prefix = prefix
        self._channel = channel
        self._pace = [round(pace.lease_seconds * 1000), round(pace.grace_seconds * 1000), int(HintKind.PRESENCE)]
        self._take = guard.redis.register_script(CLAIM_SCRIPT)
        self._leave = guard.redis.register_script(LEAVE_SCRIPT)
        self._watch = guard.redis.register_script(WATCH_SCRIPT)
        self._unwatch = guard.redis.register_script(UNWATCH_SCRIPT)
        self._guard = guard

    async def acquire(self, seats: Collection[DeviceSocket]) -> None:
        for part in batched(seats, _BATCH):
            keys, args = self._keys([seat.user_id for seat in part]), self._script_args(part)
            await self._guard.call(partial(self._take, keys=keys, args=args))

    async def release(self, seats: Collection[DeviceSocket]) -> None:
        for part in batched(seats, _BATCH):
            keys, args = self._keys([seat.user_id for seat in part]), self._script_args(part)
            await self._guard.call(partial(self._leave, keys=keys, args=args))

    async def watch(self, users: Collection[UserId]) -> Mapping[UserId, PresenceState] | None:
        found: dict[UserId, PresenceState] = {}
        for part in batched(users, _BATCH):
            args: list[str | int] = [*self._pace, self._channel]
            answer = await self._guard.call(partial(self._watch, keys=self._keys(part), args=args))
            if answer is None:
                return None
            stamp = int(answer[0])
            found |= {user: PresenceState(left / 1000, stamp) for user, left in zip(part, answer[1:], strict=True)}
        return found

    async def unwatch(self, users: Collection[UserId]) -> None:
        for part in batched(users, _BATCH):
            keys = self._keys(part)[1::2]
            await self._guard.call(partial(self._unwatch, keys=keys, args=[self._channel]))

    def _keys(self, users: Sequence[UserId]) -> list[str]:
        return [f"{self._prefix}:{kind}:{user.hex}" for user in users for kind in ("present", "watched")]

    def _script_args(self, seats: Sequence[DeviceSocket]) -> list[str | int]:
        named = [(seat.mailbox, seat.connection, seat.user_id.hex) for seat in seats]
        return [*self._pace, *(each for one in named for each in one)]
