//! Presence in Redis. Keys: `ws:online`, the users of all instances; `ws:instances`, the end of each instance's entry;
//! `ws:online:<instance>`, the users of one; `ws:fresh`, that Redis knew no instance a minute ago. Each step is a script, so that of two instances only one tells a change.

use crate::platform::id::UserId;
use crate::platform::redis::{Redis, Script};

/// Seconds without a renewal after which an instance is taken for crashed.
const CRASHED: &str = "35";
/// Users of a crashed instance that are removed at once.
const SWEPT: &str = "200";

/// Lua: whether a user is online on a living instance other than `but`.
const ELSEWHERE: &str = "
local now = tonumber(redis.call('TIME')[1])
local function elsewhere(user, but)
  for _, instance in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')) do
    if instance ~= but and redis.call('SISMEMBER', KEYS[3] .. instance, user) == 1 then return true end
  end
  return false
end
";

/// Arguments: this instance, users. Returns those who were not online.
const ENTER: &str = "
local come = {}
for i = 2, #ARGV do
  redis.call('SADD', KEYS[3] .. ARGV[1], ARGV[i])
  if redis.call('SADD', KEYS[1], ARGV[i]) == 1 then come[#come + 1] = ARGV[i] end
end
return come
";

/// Arguments: this instance, users. Returns those who are not online any more.
const LEAVE: &str = "
local gone = {}
for i = 2, #ARGV do
  redis.call('SREM', KEYS[3] .. ARGV[1], ARGV[i])
  if not elsewhere(ARGV[i], ARGV[1]) and redis.call('SREM', KEYS[1], ARGV[i]) == 1 then gone[#gone + 1] = ARGV[i] end
end
return gone
";

/// Arguments: this instance, seconds. Returns `swept` if it was taken for crashed, `lost` if Redis knew no instance a minute ago:
/// at the first start, or after it lost its data.
const RENEW: &str = "
local now = tonumber(redis.call('TIME')[1])
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SET', KEYS[4], '1', 'EX', 60) end
if redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1]) == 0 then return {} end
if redis.call('EXISTS', KEYS[4]) == 1 then return {'lost'} end
return {'swept'}
";

/// Arguments: this instance, number of users. Removes users of crashed instances; returns those who are not online any more,
/// after the word `more` if there may be others.
const SWEEP: &str = "
local crashed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
if not crashed then return {} end
local gone, users = {'more'}, redis.call('SPOP', KEYS[3] .. crashed, ARGV[2])
if #users == 0 then redis.call('ZREM', KEYS[2], crashed) end
for _, user in ipairs(users) do
  if not elsewhere(user, crashed) and redis.call('SREM', KEYS[1], user) == 1 then gone[#gone + 1] = user end
end
return gone
";

/// Arguments: this instance. Removes it. If the stop did not wait for all of its users, others remove them, as after a crash.
const LEAVE_FOR_GOOD: &str = "
if redis.call('SCARD', KEYS[3] .. ARGV[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[1])
else redis.call('ZADD', KEYS[2], 0, ARGV[1]) end
return {}
";

/// Arguments: this instance, number of users. Returns the number of users who are online, then some of them.
const ONLINE: &str = "
local listed = redis.call('SRANDMEMBER', KEYS[1], ARGV[2])
table.insert(listed, 1, tostring(redis.call('SCARD', KEYS[1])))
return listed
";

/// What Redis knew of this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    Known,
    /// It was taken for crashed, so that its users are offline for others.
    Swept,
    /// Nothing, nor of others: Redis is new, or lost its data.
    Lost,
}

pub struct Shared {
    redis: Redis,
    /// The id of this instance.
    instance: String,
    keys: [String; 4],
    enter: Script,
    leave: Script,
    renew: Script,
    sweep: Script,
    leave_for_good: Script,
    online: Script,
}

impl Shared {
    pub fn new(redis: Redis, instance: String) -> Self {
        let with_elsewhere = |code: &str| Script::new(&format!("{ELSEWHERE}{code}"));
        Self {
            keys: ["ws:online", "ws:instances", "ws:online:", "ws:fresh"].map(|name| redis.key(name)),
            redis,
            instance,
            enter: Script::new(ENTER),
            leave: with_elsewhere(LEAVE),
            renew: Script::new(RENEW),
            sweep: with_elsewhere(SWEEP),
            leave_for_good: Script::new(LEAVE_FOR_GOOD),
            online: Script::new(ONLINE),
        }
    }

    /// Adds users of this instance; returns those who were not online. `None` if Redis is down.
    pub async fn enter(&self, users: &[UserId]) -> Option<Vec<UserId>> {
        self.told(&self.enter, users).await
    }

    /// Removes users of this instance; returns those who are not online any more. `None` if Redis is down.
    pub async fn leave(&self, users: &[UserId]) -> Option<Vec<UserId>> {
        self.told(&self.leave, users).await
    }

    async fn told(&self, script: &Script, users: &[UserId]) -> Option<Vec<UserId>> {
        if users.is_empty() {
            return Some(Vec::new());
        }
        let arguments: Vec<_> = users.iter().map(UserId::as_str).collect();
        Some(ids(&self.run(script, &arguments).await?))
    }

    /// Renews this instance's entry. `None` if Redis is down.
    pub async fn renew(&self) -> Option<Renewed> {
        let answer = self.run(&self.renew, &[CRASHED]).await?;
        Some(match answer.first().map(String::as_str) {
            None => Renewed::Known,
            Some("swept") => Renewed::Swept,
            Some(_) => Renewed::Lost,
        })
    }

    /// Removes some users of crashed instances; returns those who are not online any more. `None` if there is nothing left.
    pub async fn sweep(&self) -> Option<Vec<UserId>> {
        let swept = self.run(&self.sweep, &[SWEPT]).await?;
        swept.first().is_some_and(|first| first == "more").then(|| ids(&swept[1..]))
    }

    pub async fn leave_for_good(&self) {
        self.run(&self.leave_for_good, &[]).await;
    }

    /// The number of users who are online, and some of them. `None` if Redis is down.
    pub async fn online(&self, listed: usize) -> Option<(usize, Vec<String>)> {
        let mut answer = self.run(&self.online, &[&listed.to_string()]).await?;
        let total = answer.first()?.parse().ok()?;
        Some((total, answer.split_off(1)))
    }

    async fn run(&self, script: &Script, arguments: &[&str]) -> Option<Vec<String>> {
        let arguments: Vec<_> = [self.instance.as_str()].iter().chain(arguments).copied().collect();
        self.redis.run(script, &self.keys, &arguments).await
    }
}

fn ids(texts: &[String]) -> Vec<UserId> {
    texts.iter().filter_map(|text| UserId::parse(text)).collect()
}
