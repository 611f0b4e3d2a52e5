//! The counters in Redis: one hash per caller, counted by one script, so that instances cannot race.

use chrono::{DateTime, Utc};
use deadpool_redis::redis::{AsyncCommands, Script};

use super::budget::{Caller, Decision, Limit, SLOTS};
use crate::platform::crypto;
use crate::platform::redis::Redis;

/// Fields of the hash are sub-window numbers. The script removes those that left the window, so the hash never holds many
/// more than 60. The time comes from the service, so the clocks of hosts must agree.
const SCRIPT: &str = r"
local index, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local slots = redis.call('HGETALL', KEYS[1])
local total, oldest = 0, nil
for i = 1, #slots, 2 do
  local slot = tonumber(slots[i])
  if slot <= index - tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], slots[i])
  else
    total = total + tonumber(slots[i + 1])
    if not oldest or slot < oldest then oldest = slot end
  end
end
if total >= limit then return {0, total, oldest or index} end
if ARGV[5] == '0' then return {1, total, oldest or index} end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {1, total + 1, math.min(oldest or index, index)}
";

pub(super) struct Counters {
    redis: Redis,
    script: Script,
}

impl Counters {
    pub fn new(redis: Redis) -> Self {
        Self { redis, script: Script::new(SCRIPT) }
    }

    /// `None` while Redis is down.
    pub async fn count(&self, limit: &Limit, caller: &Caller, by: u32, now: DateTime<Utc>) -> Option<Decision> {
        let rate = limit.rate;
        let mut call = self.script.key(self.key(limit, caller));
        let life = rate.window.micros() / 1000 + 1000;
        call.arg(rate.window.index(now)).arg(rate.limit).arg(SLOTS).arg(life).arg(by);
        let answer = self.redis.call(async |connection| call.invoke_async::<(u8, u64, u64)>(connection).await).await;
        answer.map(|(allowed, total, oldest)| Decision::new(rate, allowed == 1, total, oldest, now))
    }

    pub async fn forget(&self, limit: &Limit, caller: &Caller) {
        let key = self.key(limit, caller);
        self.redis.call(async |connection| connection.del::<_, ()>(key).await).await;
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
