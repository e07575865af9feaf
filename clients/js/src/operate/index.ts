/**
 * What operators do, over the HTTP of a client: read and requeue dead letters, read job types.
 *
 * ```ts
 * const client = connect({ url, token });
 * const { letters } = await deadLetters(client);
 * for (const { id } of letters) await requeue(client, id);
 * ```
 *
 * Each function takes a client that `connect` has made and asks with its address, its token and its treatment of big
 * integers. It opens no session. Errors are `AckwireError`s.
 *
 * @module
 */

export * from "./dead.js";
export * from "./types.js";
export * from "./workers.js";
