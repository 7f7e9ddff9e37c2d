// Following a board with a client from npm, as a frontend would: it reconnects by itself, and subscribes again with the cursor
// of the last event that it heard.

import { createClient as createEventStreamClient } from 'graphql-sse';
import { createClient as createWebSocketClient } from 'graphql-ws';
import WebSocket from 'ws';

import { address, Watched } from './gateway.mjs';

const FOLLOW = `subscription ($board: ID!, $after: String) { boardEvents(boardId: $board, after: $after) {
  __typename ... on ResyncRequired { version } ... on BoardChanged { version cursor clientMutationId actor { id } } } }`;

/**
 * The clients, by the names of their packages. `retries` says how often each comes again, `wait` what it waits for before,
 * `on` hears of its connections.
 */
export const clients = {
  'graphql-ws': ({ to = address, credentials, retries = 0, wait, on }) =>
    createWebSocketClient({
      url: `ws://${to}/graphql/ws`,
      connectionParams: credentials,
      webSocketImpl: WebSocket,
      retryAttempts: retries,
      retryWait: wait,
      // A connection that cannot be made is no reason to give up, either.
      shouldRetry: () => true,
      on,
    }),
  'graphql-sse': ({ to = address, credentials, retries = 0, wait, on }) =>
    createEventStreamClient({
      url: `http://${to}/graphql`,
      headers: credentials,
      retryAttempts: retries,
      retry: wait,
      on,
    }),
};

/** Runs one operation with a client, and returns its only result. */
export async function once(client, query, variables) {
  for await (const result of client.iterate({ query, variables })) return result;
  throw new Error('no result');
}

/** One subscription to the events of a board. */
export class Follower extends Watched {
  /** What was heard, in its order. */
  events = [];
  /** How it ended: the codes of its errors, and the code or status with which the connection was closed. */
  end = null;

  constructor(client, board, eventCursor) {
    super();
    const follower = this;
    let codes = [];
    const variables = {
      board,
      // Asked whenever the client subscribes: that is all it takes to go on where it was.
      get after() {
        return follower.events.at(-1)?.cursor ?? eventCursor;
      },
    };
    this.stop = client.subscribe(
      { query: FOLLOW, variables },
      {
        next: ({ data, errors }) => {
          if (errors) codes = errors.map((error) => error.extensions?.code);
          else this.events.push(data.boardEvents);
          this.changed();
        },
        error: (error) => {
          if (Array.isArray(error)) codes = error.map((each) => each.extensions?.code);
          const closed = Array.isArray(error) ? null : error.code ?? error.response?.status ?? String(error);
          this.end = { codes, closed };
          this.changed();
        },
        complete: () => {
          this.end = { codes, closed: null };
          this.changed();
        },
      },
    );
  }

  /** What the heard events are called. */
  get names() {
    return this.events.map((event) => event.clientMutationId);
  }
}
