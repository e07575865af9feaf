// A ticket opens one socket in place of a token. Loaded where the option asks for it.

import { AckwireError, unavailable } from "./errors.js";
import { refusal } from "./rest.js";
import type { Target } from "./types.js";

/** Fetches a ticket; rejects with an AckwireError. */
export async function ticket({ base, token, fetch }: Target): Promise<string> {
  try {
    const headers = { Authorization: "Bearer " + token };
    const response = await fetch(base + "/v1/ws-tickets", { method: "POST", headers });
    if (!response.ok) throw await refusal(response);
    return (await response.json()).ticket;
  } catch (error) {
    throw error instanceof AckwireError ? error : unavailable("POST /v1/ws-tickets", error);
  }
}
