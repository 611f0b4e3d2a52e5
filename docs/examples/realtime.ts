// Client of the WebSocket, in plain TypeScript: no framework and no dependency. Copy it; docs/realtime.md describes the protocol.
//
//   const realtime = new Realtime({ base: "http://localhost:8000/api/v1", getToken: async () => session.accessToken });
//   realtime.on("message", (frame) => show(frame.data.content));
//   await realtime.subscribe("room:lobby");
//   await realtime.send("room:lobby", { text: "Hello" });
//
// Messages that are published while the connection is down are not sent again. `open` is emitted after every connect, once all
// channels are subscribed: load the current state there, and nothing is missed.

export interface Frame<Data> {
  type: string;
  data: Data;
  timestamp: string;
  channel: string | null;
}

/** Events and what their listeners get. */
export interface Events {
  message: Frame<{ from_user_id: string; content: unknown }>;
  notification: Frame<{ title: string; body: string; data?: unknown }>;
  update: Frame<{ resource: string; action: "created" | "updated" | "deleted"; resource_id: string; data?: unknown }>;
  user_online: Frame<{ user_id: string }>;
  user_offline: Frame<{ user_id: string }>;
  /** Connected, and every channel is subscribed (again). */
  open: undefined;
  /** The connection ended, by this close code (1006: broken); the next try is made after `delay` ms. */
  retry: { code: number; delay: number };
  /** The client has ended: the server refuses the token and `getToken` has no other, or `close()` was called (code 1000). */
  end: { code: number };
  /** An error that belongs to no promise, for example a channel whose right ended; `details` has its name. */
  error: RealtimeError;
}

/** `code` is one of the server's (FORBIDDEN, RATE_LIMITED …), or NOT_CONNECTED, CONNECTION_LOST, TIMEOUT or CLOSED. */
export class RealtimeError extends Error {
  readonly code: string;
  readonly details: unknown;

  constructor(code: string, message: string, details: unknown = null) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export interface Options {
  /** Address of the API: `https://api.example.com/api/v1`. */
  base: string;
  /**
   * Returns a fresh access token, `null` if the user is signed out. Called before each connect and when the token is about to
   * expire. `rejected` is the last token that the server refused: returning it again ends the client.
   */
  getToken: (rejected: string | undefined) => Promise<string | null>;
  /** "ticket" (default) keeps the token out of the URL, which proxies log. "token" saves a request; use it between servers. */
  connectBy?: "ticket" | "token";
  /** For Node 20, which has none of its own: the class of the package `ws`. */
  WebSocket?: typeof WebSocket;
  /** Times in ms. */
  minDelay?: number;
  maxDelay?: number;
  timeout?: number;
  pingAfter?: number;
}

type Timer = ReturnType<typeof setTimeout>;
type Pending = { resolve: () => void; reject: (error: RealtimeError) => void };
type Message = Pending & { timer: Timer };
/** `confirmed`: on the present connection. `resolved`: the promise was, on this connection or an earlier one. */
type Channel = Pending & { promise: Promise<void>; confirmed: boolean; resolved: boolean };
type Listener<Name extends keyof Events> = (event: Events[Name]) => void;

/** The token is refused: trying it again is useless. */
class TokenRefused extends Error {}

/** A connection that lasted this long ends the growth of the delays. */
const STABLE_MS = 10_000;

export class Realtime {
  readonly #options: Required<Options>;
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();
  readonly #channels = new Map<string, Channel>();
  readonly #messages = new Map<string, Message>();
  #socket: WebSocket | undefined; // from the attempt to connect until its end
  #connected = false; // the frame `connected` came
  #opened = false; // `open` was emitted for this connection
  #token: string | undefined; // of the present connection
  #rejected: string | undefined;
  #ended = false;
  #attempts = 0;
  #lastId = 0;
  #rateLimited = false; // since the last connect
  readonly #timers = new Map<string, Timer>();

  constructor(options: Options) {
    const defaults = { connectBy: "ticket" as const, minDelay: 500, maxDelay: 30_000, timeout: 10_000, pingAfter: 25_000 };
    this.#options = { ...defaults, WebSocket: globalThis.WebSocket, ...options, base: options.base.replace(/\/+$/, "") };
    void this.#connect();
  }

  /** Adds a listener; returns a function that removes it. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Subscribes to a channel, now and after each reconnect. Resolves when the server has confirmed it; rejects if it refuses
   * (FORBIDDEN, INVALID_CHANNEL, SUBSCRIPTION_LIMIT).
   */
  subscribe(name: string): Promise<void> {
    if (this.#ended) return Promise.reject(new RealtimeError("CLOSED", "The client has ended"));
    const known = this.#channels.get(name);
    if (known) return known.promise;
    let pending: Pending | undefined;
    const promise = new Promise<void>((resolve, reject) => (pending = { resolve, reject }));
    this.#channels.set(name, { ...pending!, promise, confirmed: false, resolved: false });
    if (this.#connected) this.#write({ type: "subscribe", channel: name });
    return promise;
  }

  unsubscribe(name: string): void {
    const channel = this.#channels.get(name);
    if (!channel) return;
    this.#channels.delete(name);
    if (!channel.resolved) channel.reject(new RealtimeError("CLOSED", `Unsubscribed from ${name}`));
    if (this.#connected) this.#write({ type: "unsubscribe", channel: name });
  }

  /**
   * Publishes to a subscribed channel. Resolves when the server has handed the message on. Rejects if the server refuses it, and
   * at once without a connection. After CONNECTION_LOST and TIMEOUT it may have been delivered or not: if you send it again, put
   * an id of your own into `data` by which receivers drop the second copy.
   */
  send(name: string, data: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#connected) return reject(new RealtimeError("NOT_CONNECTED", "There is no connection"));
      const id = String(++this.#lastId);
      const late = () => {
        this.#messages.delete(id);
        reject(new RealtimeError(this.#rateLimited ? "RATE_LIMITED" : "TIMEOUT", "The server did not confirm the message"));
      };
      this.#messages.set(id, { resolve, reject, timer: setTimeout(late, this.#options.timeout) });
      this.#write({ type: "message", channel: name, data, id });
    });
  }

  /** Ends the client. What is not settled is rejected with CLOSED. */
  close(): void {
    this.#end(1000, "The client was closed");
  }

  async #connect(): Promise<void> {
    try {
      const token = await this.#options.getToken(this.#rejected);
      if (this.#ended) return;
      if (token === null || token === this.#rejected) return this.#end(1008, "Signed out");
      this.#token = token;
      const query = this.#options.connectBy === "token" ? { token } : { ticket: await this.#ticket(token) };
      if (this.#ended) return;
      const url = `${this.#options.base.replace(/^http/, "ws")}/app/ws?${new URLSearchParams(query)}`;
      const socket = (this.#socket = new this.#options.WebSocket(url));
      socket.onmessage = (event) => this.#receive(JSON.parse(String(event.data)));
      socket.onclose = (event) => this.#lost(event.code);
      socket.onerror = () => {}; // `close` follows
      this.#setTimer("alive", this.#options.timeout, () => this.#lost(1006));
    } catch (error) {
      this.#lost(error instanceof TokenRefused ? 1008 : 1006);
    }
  }

  async #ticket(token: string): Promise<string> {
    const headers = { Authorization: `Bearer ${token}` };
    const signal = AbortSignal.timeout(this.#options.timeout);
    const response = await fetch(`${this.#options.base}/app/ws/ticket`, { method: "POST", headers, signal });
    if (response.status === 401 || response.status === 403) throw new TokenRefused();
    if (!response.ok) throw new Error(`No ticket: status ${response.status}`);
    return (await response.json()).ticket;
  }

  #receive(frame: Frame<any>): void {
    // Any frame shows that the connection is alive; after a silence a ping asks for one.
    this.#setTimer("alive", this.#options.pingAfter, () => {
      this.#write({ type: "ping" });
      this.#setTimer("alive", this.#options.timeout, () => this.#lost(1006));
    });
    switch (frame.type) {
      case "connected":
        this.#connected = true;
        this.#setTimer("stable", STABLE_MS, () => (this.#attempts = 0));
        this.#subscribeAll();
        return this.#checkOpen();
      case "subscribed": {
        const channel = this.#channels.get(frame.data.channel);
        if (!channel) return;
        channel.confirmed = channel.resolved = true;
        channel.resolve();
        return this.#checkOpen();
      }
      case "unsubscribed": // by `unsubscribe`, or because the right to the channel has ended
        if (!this.#channels.get(frame.data.channel)?.confirmed) return;
        this.#channels.delete(frame.data.channel);
        return this.#emit("error", new RealtimeError("FORBIDDEN", "You may no longer use this channel", frame.data));
      case "ack":
        return this.#take(frame.data.id)?.resolve();
      case "error":
        return this.#refused(frame.data);
      case "expiring":
        return void this.#renew();
      case "message":
      case "notification":
      case "update":
      case "user_online":
      case "user_offline":
        return this.#emit(frame.type, frame as never);
    }
  }

  #subscribeAll(): void {
    for (const [name, channel] of this.#channels) if (!channel.confirmed) this.#write({ type: "subscribe", channel: name });
  }

  #checkOpen(): void {
    if (this.#opened || ![...this.#channels.values()].every((channel) => channel.confirmed)) return;
    this.#opened = true;
    this.#emit("open", undefined);
  }

  /** Rejects the promise that an error of the server belongs to; `details` names the frame that was refused. */
  #refused(data: { code: string; message: string; details: { type?: string; id?: string; channel?: string } | null }): void {
    const error = new RealtimeError(data.code, data.message, data.details);
    const { type, id, channel: name = "" } = data.details ?? {};
    const message = this.#take(id);
    if (message) return message.reject(error);
    const channel = type === "subscribe" ? this.#channels.get(name) : undefined;
    if (data.code === "RATE_LIMITED" || data.code === "SERVICE_UNAVAILABLE") {
      // Dropped frames share one error a second. Dropped messages are rejected at their time-out, subscriptions sent again.
      this.#rateLimited ||= data.code === "RATE_LIMITED";
      this.#setTimer("again", 1500, () => this.#subscribeAll());
    } else if (channel && !channel.confirmed) {
      this.#channels.delete(name);
      this.#checkOpen();
      if (!channel.resolved) return channel.reject(error);
    }
    this.#emit("error", error);
  }

  async #renew(): Promise<void> {
    const socket = this.#socket;
    const token = await this.#options.getToken(this.#rejected).catch(() => null); // without one the connection ends by 1008
    if (token === null || token === this.#token || socket !== this.#socket) return;
    this.#token = token;
    this.#write({ type: "auth", token });
  }

  /** The connection, or the attempt to connect, has ended. */
  #lost(code: number): void {
    if (this.#ended) return;
    this.#drop(new RealtimeError("CONNECTION_LOST", `The connection ended with code ${code}`));
    if (code === 1008) this.#rejected = this.#token; // final for this token: `connect` goes on only with another
    const { minDelay, maxDelay } = this.#options;
    let delay = Math.random() * Math.min(maxDelay, minDelay * 2 ** this.#attempts++);
    if (code === 1001) delay = Math.random() * 2 * minDelay; // the server restarts, and another instance is there
    if (code === 1013) delay = (maxDelay / 3) * (1 + 2 * Math.random()); // too many connections, or this one reads too slowly
    this.#setTimer("retry", delay, () => void this.#connect());
    this.#emit("retry", { code, delay });
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const error = new RealtimeError("CLOSED", reason);
    this.#drop(error);
    for (const channel of this.#channels.values()) if (!channel.resolved) channel.reject(error);
    this.#channels.clear();
    this.#emit("end", { code });
  }

  /** Leaves the socket and rejects all messages that were not confirmed on it. */
  #drop(error: RealtimeError): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#connected = this.#opened = this.#rateLimited = false;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const channel of this.#channels.values()) channel.confirmed = false;
    for (const id of [...this.#messages.keys()]) this.#take(id)?.reject(error);
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Takes a message that waits for its confirmation. */
  #take(id = ""): Message | undefined {
    const message = this.#messages.get(id);
    clearTimeout(message?.timer);
    this.#messages.delete(id);
    return message;
  }

  #write(frame: object): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  #setTimer(name: string, delay: number, action: () => void): void {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(action, delay));
  }

  #emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) (listener as Listener<Name>)(event);
  }
}
