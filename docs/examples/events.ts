// Client of the server-sent events, in plain TypeScript without a dependency. Copy it; docs/realtime.md describes the protocol.
//
// Events come once, in order, also over a reconnect: `EventSource` names the last event it got and receives what it missed. If
// that is too long ago, the server sends `resync`: load everything anew.

export interface ServerEvent {
  type: "update" | "notification";
  /** For `update`: `resource`, `action`, `resource_id`, optional `data`. For `notification`: `title`, `body`, optional `data`. */
  data: Record<string, unknown>;
  id: string;
}

export interface Options {
  /** Address of the API: `https://api.example.com/api/v1`. */
  base: string;
  /** Returns a fresh access token, `null` if the user is signed out. `rejected`: the last token that the server refused. */
  getToken: (rejected: string | undefined) => Promise<string | null>;
  onEvent: (event: ServerEvent) => void;
  /** Events are lost: load everything anew. */
  onResync: () => void;
  /** The user is signed out; nothing comes any more. */
  onEnd?: () => void;
}

/** Longest delay in ms before the next try. */
const MAX_DELAY = 30_000;

/** Listens until the returned function is called. */
export function listen({ base, getToken, onEvent, onResync, onEnd }: Options): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let rejected: string | undefined;
  let lastId = "";
  let attempts = 0;
  let stopped = false;

  function retry(): void {
    source?.close();
    if (!stopped) timer = setTimeout(() => void connect(), Math.random() * Math.min(MAX_DELAY, 500 * 2 ** attempts++));
  }

  async function connect(): Promise<void> {
    try {
      const token = await getToken(rejected);
      if (stopped) return;
      if (token === null || token === rejected) {
        stopped = true;
        return onEnd?.();
      }
      // A browser sends no header with an EventSource. The ticket lives as long as the session and serves its reconnects, too.
      const headers = { Authorization: `Bearer ${token}` };
      const answer = await fetch(`${base}/app/events/ticket`, { method: "POST", headers, signal: AbortSignal.timeout(10_000) });
      if (answer.status === 401 || answer.status === 403) rejected = token;
      if (stopped || !answer.ok) return retry();
      const query = new URLSearchParams({ ticket: (await answer.json()).ticket });
      if (lastId) query.set("last_event_id", lastId);
      open(new EventSource(`${base}/app/events?${query}`));
    } catch {
      retry(); // the server cannot be reached
    }
  }

  function open(opened: EventSource): void {
    source = opened;
    if (stopped) return opened.close();
    const keep = (type: ServerEvent["type"]) => (event: MessageEvent<string>) => {
      lastId = event.lastEventId;
      onEvent({ type, data: JSON.parse(event.data), id: lastId });
    };
    opened.addEventListener("open", () => (attempts = 0));
    opened.addEventListener("ready", (event: MessageEvent<string>) => (lastId = event.lastEventId));
    opened.addEventListener("update", keep("update"));
    opened.addEventListener("notification", keep("notification"));
    opened.addEventListener("resync", (event: MessageEvent<string>) => {
      lastId = event.lastEventId;
      onResync();
    });
    // After a broken connection EventSource reconnects by itself. It gives up if the server answers with an error.
    opened.addEventListener("error", () => {
      if (opened.readyState === EventSource.CLOSED) retry();
    });
  }

  void connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    source?.close();
  };
}
