// Stories of the client docs/examples/realtime.ts against two instances, see realtime.sh. What it needs done (a token, an instance
// stopped) it asks realtime.py for: a line on standard output, answered by a line on standard input.
//
//   node realtime_client.mjs <compiled client> <API of instance a> <API of instance b>
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import net from "node:net";
import readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const [modulePath, a, b] = process.argv.slice(2);
const { Realtime, RealtimeError } = await import(pathToFileURL(modulePath));
const WebSocket = createRequire(import.meta.url)("ws"); // found by NODE_PATH
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(words) {
  process.stdout.write(`ask ${words}\n`);
  return (await answers.next()).value;
}

/** Waits until `check` is true. */
async function eventually(check, what, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  while (!check()) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what()}`);
    await sleep(10);
  }
}

const tokens = {};
for (const user of ["ada", "bob", "eve"]) tokens[user] = await ask(`token ${user}`);

/** A client that counts what happens to it. `drop()` breaks its connection without a close frame. */
function client(base, user, options = {}) {
  const seen = { opens: 0, asked: 0, retries: [], delays: [], ends: [], messages: [], errors: [] };
  let socket;
  class Counted extends WebSocket {
    constructor(url) {
      super(url);
      socket = this;
    }
  }
  const getToken = async () => (seen.asked++, tokens[user] ?? user);
  const made = new Realtime({ base, getToken, WebSocket: Counted, minDelay: 20, maxDelay: 500, ...options });
  made.on("open", () => seen.opens++);
  made.on("retry", ({ code, delay }) => (seen.retries.push(code), seen.delays.push(delay)));
  made.on("end", ({ code }) => seen.ends.push(code));
  made.on("error", (error) => seen.errors.push(error.code));
  made.on("message", ({ channel, data }) => seen.messages.push(`${channel} ${data.content}`));
  return Object.assign(made, { seen, drop: () => socket.terminate() });
}

const opened = (made, times = 1) =>
  eventually(
    () => made.seen.opens >= times,
    () => `open number ${times}: ${JSON.stringify(made.seen)}`,
  );

const refused = (promise, code) =>
  assert.rejects(promise, (error) => error instanceof RealtimeError && new RegExp(code).test(error.code));

/** Each text arrived exactly once. */
async function arrived(made, wanted) {
  await eventually(
    () => made.seen.messages.length >= wanted.length,
    () => `${wanted.length} messages, but ${made.seen.messages.length} came`,
  );
  await sleep(200); // for copies
  assert.deepEqual([...made.seen.messages].sort(), [...wanted].sort());
  made.seen.messages.length = 0;
}

const numbered = (count, channel) => Array.from({ length: count }, (_, number) => `${channel} ${number}`);

async function bothWays() {
  const ada = client(a, "ada", { connectBy: "token" });
  const bob = client(b, "bob");
  const others = client(b, "bob"); // the same user, but not in this channel
  await Promise.all([ada.subscribe("room:story"), bob.subscribe("room:story"), others.subscribe("room:other")]);
  for (const [from, to] of [
    [ada, bob],
    [bob, ada],
  ]) {
    for (let number = 0; number < 20; number++) await from.send("room:story", number);
    await arrived(to, numbered(20, "room:story"));
    assert.deepEqual(from.seen.messages, [], "no copy for the sender");
  }
  assert.deepEqual(others.seen.messages, []);
  await refused(ada.subscribe("user:somebody-else"), "FORBIDDEN");
  await refused(ada.subscribe("not a name"), "INVALID_CHANNEL");
  await refused(ada.send("room:never-joined", 1), "NOT_SUBSCRIBED");
  await refused(ada.send("system", 1), "FORBIDDEN");
  for (const made of [ada, bob, others]) made.close();
  await refused(ada.send("room:story", 1), "NOT_CONNECTED");
  assert.deepEqual(ada.seen.ends, [1000]);
  console.log("realtime.ts: connects by token and by ticket; a message arrives once on the other instance");
}

async function deadToken() {
  for (const connectBy of ["token", "ticket"]) {
    const made = client(a, "not.a.token", { connectBy });
    await eventually(
      () => made.seen.ends.length > 0,
      () => JSON.stringify(made.seen),
    );
    assert.deepEqual([made.seen.retries, made.seen.ends], [[1008], [1008]], "one try only");
    await refused(made.subscribe("room:story"), "CLOSED");
  }
  console.log("realtime.ts: 1008 is final for a token");
}

async function endedSession() {
  const token = await ask("token cyd");
  let next = token;
  const made = client(b, "cyd", { getToken: async () => next });
  await made.subscribe("room:session");
  await opened(made);
  const ended = await fetch(`${a}/app/auth/logout-all`, { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  assert.equal(ended.status, 204);
  // The next one comes while the server closes the connection.
  next = await ask("token cyd");
  await eventually(
    () => made.seen.retries.length > 0,
    () => "the end of a session that was ended on the other instance",
    65,
  );
  await opened(made, 2);
  assert.deepEqual([made.seen.retries, made.seen.ends], [[1008], []]);
  made.close();
  console.log("realtime.ts: 1008 within 60 s of the end of a session, and a new token goes on");
}

async function expiry() {
  const token = await ask("short-token dan");
  const stale = client(a, "dan", { connectBy: "token", getToken: async () => token });
  const byTicket = client(a, "dan", { getToken: async () => token });
  const later = await ask("token dan");
  let asked = 0;
  const renewing = client(a, "dan", { connectBy: "token", getToken: async () => (asked++ ? later : token) });
  const bob = client(a, "bob");
  const all = [stale, byTicket, renewing, bob];
  await Promise.all(all.map((made) => made.subscribe("room:expiry")));
  await eventually(
    () => stale.seen.ends.length > 0,
    () => "the end of a token",
    130,
  );
  await bob.send("room:expiry", "still there");
  await Promise.all([byTicket, renewing].map((made) => arrived(made, ["room:expiry still there"])));
  assert.deepEqual([stale.seen.retries, stale.seen.messages], [[1008], []]);
  assert.deepEqual([byTicket.seen.retries, renewing.seen.retries, asked], [[], [], 2], "both stay connected");
  for (const made of all) made.close();
  console.log("realtime.ts: a connection outlives its token if the token is renewed, or if it was opened by a ticket");
}

async function reconnects() {
  const channels = Array.from({ length: 20 }, (_, number) => `room:${number}`);
  const ada = client(a, "ada");
  const bob = client(b, "bob");
  await Promise.all(channels.flatMap((name) => [ada.subscribe(name), bob.subscribe(name)]));
  await Promise.all([opened(ada), opened(bob)]);
  for (let round = 1; round <= 100; round++) {
    const lost = ada.send("room:0", "perhaps");
    const settled = lost.then(
      () => "ack",
      (error) => error.code,
    );
    ada.drop();
    assert.ok(["ack", "CONNECTION_LOST"].includes(await settled));
    await opened(ada, round + 1);
  }
  assert.equal(ada.seen.asked, 101, "a token for each connect");
  assert.deepEqual([ada.seen.opens, ada.seen.errors], [101, []]);
  for (const name of channels) await bob.send(name, "back");
  await arrived(
    ada,
    channels.map((name) => `${name} back`),
  );
  for (const made of [ada, bob]) made.close();
  console.log("realtime.ts: 100 reconnects, all 20 channels back");
}

/** Leads each connection to the first instance that accepts it. After `silence()`, present ones carry nothing any more. */
async function balancer(...apis) {
  const pairs = [];
  const ports = apis.map((api) => Number(new URL(api).port));
  const server = net.createServer(async (near) => {
    near.on("error", () => {});
    for (const port of ports) {
      const far = net.connect(port, "127.0.0.1");
      if (
        !(await once(far, "connect").then(
          () => true,
          () => false,
        ))
      )
        continue;
      far.on("error", () => near.destroy());
      near.on("close", () => far.destroy());
      pairs.push([near, far]);
      return near.pipe(far).pipe(near);
    }
    near.destroy();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const silence = () => pairs.forEach(([near, far]) => (near.unpipe(far), far.unpipe(near)));
  return { api: `http://127.0.0.1:${server.address().port}/api/v1`, silence, close: () => server.close() };
}

async function silence() {
  const entrance = await balancer(a);
  const ada = client(entrance.api, "ada", { pingAfter: 200, timeout: 1000 });
  await ada.subscribe("room:silence");
  await opened(ada);
  await sleep(1500);
  assert.deepEqual(ada.seen.retries, [], "pings are answered");
  entrance.silence();
  await refused(ada.send("room:silence", "lost"), /^(CONNECTION_LOST|TIMEOUT)$/);
  await opened(ada, 2);
  // The request for a ticket may have to give up a silent connection, too.
  assert.deepEqual([...new Set(ada.seen.retries)], [1006]);
  ada.close();
  entrance.close();
  console.log("realtime.ts: a connection that went silent is given up, and another one made");
}

async function tooMany() {
  const clients = Array.from({ length: 10 }, () => client(b, "eve"));
  await Promise.all(clients.map((made) => opened(made)));
  const refusedOne = client(b, "eve", { maxDelay: 900 });
  await eventually(
    () => refusedOne.seen.retries.length > 1,
    () => `1013, but ${JSON.stringify(refusedOne.seen)}`,
  );
  assert.deepEqual([new Set(refusedOne.seen.retries), refusedOne.seen.opens], [new Set([1013]), 0]);
  assert.ok(
    refusedOne.seen.delays.every((delay) => delay >= 300),
    `longer pauses: ${refusedOne.seen.delays}`,
  );
  clients.pop().close();
  await opened(refusedOne);
  for (const made of [...clients, refusedOne]) made.close();
  console.log("realtime.ts: waits longer after 1013, and connects once there is room");
}

async function restart() {
  const entrance = await balancer(a, b);
  const ada = client(entrance.api, "ada", { timeout: 5000 });
  const bob = client(b, "bob");
  await Promise.all([ada.subscribe("room:restart"), bob.subscribe("room:restart")]);
  await Promise.all([opened(ada), opened(bob)]);
  const outcomes = [];
  let sending = true;
  const storm = (async () => {
    for (let number = 0; sending; number++) {
      outcomes.push(
        ada.send("room:restart", number).then(
          () => ["ack", number],
          (error) => [error.code, number],
        ),
      );
      await sleep(25);
    }
  })();
  await sleep(1000);
  await ask("stop a");
  await opened(ada, 2);
  await sleep(500);
  sending = false;
  await storm;
  assert.equal(ada.seen.retries[0], 1001, `a stopping server says so: ${ada.seen.retries}`);
  const settled = await Promise.all(outcomes);
  const acked = settled.filter(([code]) => code === "ack").map(([, number]) => `room:restart ${number}`);
  const others = new Set(
    settled.map(([code]) => code).filter((code) => !["ack", "CONNECTION_LOST", "NOT_CONNECTED"].includes(code)),
  );
  assert.deepEqual([...others], []);
  await eventually(
    () => acked.every((text) => bob.seen.messages.includes(text)),
    () => "each confirmed message arrives",
  );
  assert.equal(new Set(bob.seen.messages).size, bob.seen.messages.length, "nothing arrives twice");
  await ask("start a");
  for (const made of [ada, bob]) made.close();
  entrance.close();
  console.log(
    `realtime.ts: an instance stops, and the client goes on at the other; of ${settled.length} messages ${acked.length} were confirmed, and each of those came`,
  );
}

async function redisRestart() {
  const [ada, bob, near] = [client(a, "ada"), client(b, "bob"), client(a, "bob")];
  await Promise.all([ada, bob, near].map((made) => made.subscribe("room:redis")));
  await Promise.all([ada, bob, near].map((made) => opened(made)));
  await ask("stop redis");
  await ada.send("room:redis", "without Redis");
  await arrived(near, ["room:redis without Redis"]);
  await ask("start redis");
  for (let number = 0; bob.seen.messages.length === 0; number++) {
    assert.ok(number < 150, "instances hear each other again within 15 s of a restart of Redis");
    await ada.send("room:redis", number);
    await sleep(100);
  }
  assert.deepEqual(
    [ada, bob, near].flatMap((made) => made.seen.retries),
    [],
    "no connection ended",
  );
  for (const made of [ada, bob, near]) made.close();
  console.log("realtime.ts: without Redis an instance goes on by itself; after its restart both hear each other");
}

async function tooFast() {
  const ada = client(a, "ada", { timeout: 2000 });
  await ada.subscribe("room:fast");
  const settled = await Promise.allSettled(Array.from({ length: 400 }, (_, number) => ada.send("room:fast", number)));
  const codes = new Set(settled.map((each) => (each.status === "fulfilled" ? "ack" : each.reason.code)));
  assert.deepEqual([...codes].sort(), ["RATE_LIMITED", "ack"]);
  ada.close();
  console.log("realtime.ts: each message above the rate limit is rejected");
}

setTimeout(() => {
  console.error("the stories do not end within 5 minutes");
  process.exit(1);
}, 300_000).unref();

const slow = Promise.all([endedSession(), expiry()]);
slow.catch(() => {}); // awaited below
await bothWays();
await deadToken();
await reconnects();
await tooFast();
await tooMany();
await silence();
await slow; // before an instance stops
await restart();
await redisRestart();
process.exit(0);
