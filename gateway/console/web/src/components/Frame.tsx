// What surrounds every page: the way to the others, how the connection stands, who the user is.

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { leave, trouble, type Session } from "../api.js";
import { useKeys } from "../keys.js";
import { Mark } from "../pages/login.js";
import { go, type Route } from "../router.js";
import { useCell, useStore } from "../state.js";
import { visible } from "../text.js";
import { now, span, utc } from "../time.js";
import { A } from "./basics.js";
import { help } from "./Confirm.js";

/** The pages by the key that opens each behind a g: where they are, their names, and what is shown below them. */
export const places: Record<string, [to: string, title: string, ...shows: Route["page"][]]> = {
  o: ["", "Overview", "overview"], j: ["jobs", "Jobs", "jobs", "job"], w: ["workers", "Workers", "workers"],
  t: ["types", "Types", "types", "type"], d: ["dead", "Dead letters", "dead", "letter"],
  h: ["webhooks", "Webhooks", "webhooks"], a: ["audit", "Audit", "audit"],
};

let prefix = 0; // when g was pressed

export function Frame({ session, route, children }: { session: Extract<Session, { kind: "in" }>; route: Route; children: ComponentChildren }) {
  const { me } = session;
  useKeys({ "?": () => help.set(true), t: () => utc.set(!utc.get()), g: () => (prefix = Date.now()) });
  // Behind a g a key chooses a page; alone, j is for rows.
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const to = places[event.key]?.[0];
      if (to === undefined || Date.now() - prefix > 1200 || (event.target as HTMLElement).closest("input, textarea, select")) return;
      prefix = 0;
      event.stopPropagation();
      go(to);
    };
    addEventListener("keydown", press, true);
    return () => removeEventListener("keydown", press, true);
  }, []);
  useEffect(() => {
    document.querySelector("header [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [route.page]);
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <header>
        <A to="" class="brand" title="Overview"><Mark /><span>Ackwire</span></A>
        <nav aria-label="Pages">
          {Object.values(places).map(([to, title, ...shows]) => (
            <A key={to} to={to} aria-current={shows.includes(route.page) ? "page" : undefined}>{title}</A>
          ))}
        </nav>
        <Link session={session} />
        <span class="who" title={`Permissions: ${me.permissions.join(", ") || "none"}`}>
          {visible(me.subject || "local user")}<span class="dim"> · {visible(me.tenant)}</span>
        </span>
        {!me.anonymous && <button class="quiet" onClick={() => leave("")}>Sign out</button>}
        <button class="quiet" aria-label="Keyboard help" title="Keyboard help (?)" onClick={() => help.set(true)}>?</button>
      </header>
      <Trouble />
      <main id="main" tabIndex={-1}>{children}</main>
    </>
  );
}

/** Whether statuses come by themselves. */
function Link({ session: { client } }: { session: Extract<Session, { kind: "in" }> }) {
  const { state } = useStore(client.connection, () => client.connection.snapshot());
  const away = useCell(trouble);
  const well = !away && (state === "open" || state === "idle");
  return <span class={well ? "link open" : "link"} role="status">{well ? "Live" : away ? "Away" : "Connecting…"}</span>;
}

/** Says what is wrong, and since when. It lies over the page, so that nothing moves. */
function Trouble() {
  const away = useCell(trouble);
  const time = useCell(now);
  if (!away) return null;
  return (
    <div class="banner bad floating" role="alert">
      {visible(away.why)}. What you see is what was known {span(Math.max(1000, time - away.since))} ago; the page tries again by itself.
    </div>
  );
}
