//! The counters in Redis: one hash per caller, counted by one script, so that instances cannot race.

use chrono::{DateTime, Utc};
use deadpool_redis::redis::{AsyncCommands, Script, ScriptInvocation};

use super::budget::{Caller, Decision, Limit, Limits, SLOTS, Verdict};
use crate::platform::crypto;
use crate::platform::redis::Redis;

/// Counts against every key, or against none if one of them is used up. Each key has four arguments: sub-window, limit, number of
/// sub-windows, life in milliseconds; the last argument is 0 to count nothing. Returns the number of the key that refused, or 0,
/// and the total and the oldest sub-window of that key or else of the last one.
///
/// Fields of a hash are sub-window numbers. The script removes those that left the window, so a hash never holds many more than
/// 60. The time comes from the service, so the clocks of hosts must agree.
const COUNT: &str = r"
local total, oldest
for k = 1, #KEYS do
  local index, limit, slots = tonumber(ARGV[4 * k - 3]), tonumber(ARGV[4 * k - 2]), tonumber(ARGV[4 * k - 1])
  local fields = redis.call('HGETALL', KEYS[k])
  total, oldest = 0, index
  for i = 1, #fields, 2 do
    local slot = tonumber(fields[i])
    if slot <= index - slots then
      redis.call('HDEL', KEYS[k], fields[i])
    else
      total = total + tonumber(fields[i + 1])
      oldest = math.min(oldest, slot)
    end
  end
  if total >= limit then return {k, total, oldest} end
end
if ARGV[#ARGV] == '0' then return {0, total, oldest} end
for k = 1, #KEYS do
  redis.call('HINCRBY', KEYS[k], ARGV[4 * k - 3], 1)
  redis.call('PEXPIRE', KEYS[k], ARGV[4 * k])
end
return {0, total + 1, oldest}
";

/// Takes back one request of a sub-window.
const GIVE_BACK: &str = r"
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) < 1 then return end
if redis.call('HINCRBY', KEYS[1], ARGV[1], -1) == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
";

/// What [`COUNT`] returns.
type Answer = (u8, u64, u64);

pub(super) struct Counters {
    redis: Redis,
    count: Script,
    give_back: Script,
}

impl Counters {
    pub fn new(redis: Redis) -> Self {
        Self { redis, count: Script::new(COUNT), give_back: Script::new(GIVE_BACK) }
    }

    /// `None` while Redis is down.
    pub async fn count(&self, limit: &Limit, caller: &Caller, by: u32, now: DateTime<Utc>) -> Option<Decision> {
        let mut call = self.count.prepare_invoke();
        self.add(&mut call, limit, caller, now);
        call.arg(by);
        let (refused, total, oldest) = self.call(&call).await?;
        Some(Decision::new(limit.rate, refused == 0, total, oldest, now))
    }

    /// Counts against both budgets. `None` while Redis is down.
    pub async fn admit(&self, limits: &Limits, address: &Caller, caller: &Caller, now: DateTime<Utc>) -> Option<Verdict> {
        let mut call = self.count.prepare_invoke();
        self.add(&mut call, &limits.address, address, now);
        self.add(&mut call, &limits.route, caller, now);
        call.arg(1);
        let (refused, total, oldest) = self.call(&call).await?;
        Some(match refused {
            1 => Verdict::AddressRefused(Decision::new(limits.address.rate, false, total, oldest, now)),
            refused => Verdict::Route(Decision::new(limits.route.rate, refused == 0, total, oldest, now)),
        })
    }

    /// Takes back one request that was counted at this time; `false` while Redis is down.
    pub async fn give_back(&self, limit: &Limit, caller: &Caller, now: DateTime<Utc>) -> bool {
        let mut call = self.give_back.key(self.key(limit, caller));
        call.arg(limit.rate.window.index(now));
        self.redis.call(async |connection| call.invoke_async::<()>(connection).await).await.is_some()
    }

    pub async fn forget(&self, limit: &Limit, caller: &Caller) {
        let key = self.key(limit, caller);
        self.redis.call(async |connection| connection.del::<_, ()>(key).await).await;
    }

    fn add(&self, call: &mut ScriptInvocation<'_>, limit: &Limit, caller: &Caller, now: DateTime<Utc>) {
        let life = limit.rate.window.micros() / 1000 + 1000;
        call.key(self.key(limit, caller)).arg(limit.rate.window.index(now)).arg(limit.rate.limit).arg(SLOTS).arg(life);
    }

    async fn call(&self, call: &ScriptInvocation<'_>) -> Option<Answer> {
        self.redis.call(async |connection| call.invoke_async::<Answer>(connection).await).await
    }

    fn key(&self, limit: &Limit, caller: &Caller) -> String {
        let name = limit.name;
        self.redis.key(&match caller {
            Caller::User(id) => format!("rate:{name}:user:{id}"),
            Caller::Address(address) => format!("rate:{name}:ip:{address}"),
            Caller::Hashed(hash) => format!("rate:{name}:{}", crypto::hex(hash)),
        })
    }
}
