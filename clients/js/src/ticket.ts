// A ticket opens one socket in place of a token. Loaded where the option asks for it.

import { unavailable } from "./errors.js";
import { refusal } from "./rest.js";
import type { Target, Transport } from "./types.js";

/** Fetches a ticket for a session of `transport`, which is opened by it; rejects with an AckwireError. */
export async function withTicket({ base, query, token, fetch }: Target, { name, open }: Transport): Promise<Transport> {
  try {
    const headers = { Authorization: "Bearer " + token };
    const response = await fetch(base + "/v1/ws-tickets", { method: "POST", headers });
    if (!response.ok) throw await refusal(response);
    const { ticket } = await response.json();
    const search = (query ? query + "&" : "?") + "ticket=" + encodeURIComponent(ticket);
    return { name, open: (target, events) => open({ ...target, token: undefined, query: search }, events) };
  } catch (error) {
    throw unavailable("POST /v1/ws-tickets", error);
  }
}
