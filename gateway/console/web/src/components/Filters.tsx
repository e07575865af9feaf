// The filter of the list of jobs. Each change is a new URL.

import type { State } from "ackwire";
import { useRef, useState } from "preact/hooks";
import { read } from "../api.js";
import { builtIn, changed, mostTags, normal, spans, views } from "../filter.js";
import { useKeys } from "../keys.js";
import { usePoll } from "../live.js";
import { states, type Stats } from "../pages/overview.js";
import { go } from "../router.js";
import { useCell } from "../state.js";
import { cut, visible } from "../text.js";
import { A } from "./basics.js";
import { Input } from "./Input.js";
import { columns, hiddenColumns } from "./Row.js";
import { TenantField } from "./Tenant.js";

const isID = (text: string) => /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text);

export function Filters({ query }: { query: URLSearchParams }) {
  const first = useRef<HTMLInputElement>(null);
  useKeys({ "/": () => { first.current?.focus(); first.current?.select(); } });
  const tenant = query.get("tenant") ?? "";
  const search = tenant ? "?tenant=" + encodeURIComponent(tenant) : "";
  const { data } = usePoll("names" + search, 30_000, (signal) => read<Stats>("/v1/stats" + search, signal));
  const set = (changes: Parameters<typeof changed>[1]) => go(changed(query, changes), true);
  const find = (text: string) => (isID(text) ? go("jobs/" + text.toLowerCase()) : set({ type: text }));
  const tags = query.getAll("tag");
  const chosen = (query.get("state") ?? "").split(",").filter(Boolean);
  const toggle = (state: State) =>
    set({ state: states.filter((s) => (s === state ? !chosen.includes(s) : chosen.includes(s))).join(",") });
  return (
    <div class="filters">
      <Views query={query} />
      <form class="row" role="search" onSubmit={(event) => { event.preventDefault(); first.current && find(first.current.value.trim()); }}>
        <label class="field grow"><span>Type or ID</span>
          <Input field={first} list="types" value={query.get("type") ?? ""} placeholder="any   /" set={find} />
        </label>
        <datalist id="types">{[...new Set(data?.counts.map((c) => c.type))].map((t) => <option key={t} value={t} />)}</datalist>
        <label class="field"><span>Lane</span>
          <select value={query.get("lane") ?? ""} onChange={(event) => set({ lane: event.currentTarget.value })}>
            <option value="">any</option>
            {[...new Set([...(data?.lanes.map((l) => l.lane) ?? []), ...(query.get("lane") ? [query.get("lane")!] : [])])].map((l) => <option key={l} value={l}>{visible(l)}</option>)}
          </select>
        </label>
        <label class="field"><span>Created</span>
          <select value={query.get("since") ?? ""} onChange={(event) => set({ since: event.currentTarget.value })}>
            <option value="">any time</option>
            {Object.keys(spans).map((s) => <option key={s} value={s}>last {s}</option>)}
          </select>
        </label>
        <label class="field"><span>Subject</span>
          <Input value={query.get("subject") ?? ""} placeholder="any" set={(subject) => set({ subject })} />
        </label>
        {tags.length < mostTags && <label class="field"><span>Tag</span>
          <Input key={tags.length} value="" placeholder="key:value" set={(tag) => set({ tag: [...tags, tag] })} />
        </label>}
        <TenantField value={tenant} set={(t) => set({ tenant: t })} />
        <Columns />
      </form>
      {tags.length > 0 && <div class="chips" role="group" aria-label="Tags">{tags.map((tag) => (
        <button key={tag} class="chip" aria-pressed="true" title="Take this tag away" onClick={() => set({ tag: tags.filter((t) => t !== tag) })}>{visible(cut(tag, 80))} ✕</button>
      ))}</div>}
      <div class="chips" role="group" aria-label="States">
        {states.filter((s) => s !== "queued" || chosen.includes(s)).map((s) => (
          <button key={s} class={`chip ${s}`} aria-pressed={chosen.includes(s)} onClick={() => toggle(s)}>{s}</button>
        ))}
      </div>
    </div>
  );
}

/** The views: some that everybody has, and those that the user has kept in this browser. */
function Views({ query }: { query: URLSearchParams }) {
  const own = useCell(views);
  const [naming, name] = useState(false);
  const now = normal(query);
  const here = own.find((v) => normal(v.query) === now);
  const known = here || builtIn.some((v) => normal(v.query) === now);
  const keep = (event: SubmitEvent) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem("name") as HTMLInputElement;
    const given = field.value.trim().slice(0, 40);
    if (given) views.set([...own.filter((v) => v.name !== given), { name: given, query: now }].slice(-50));
    name(false);
  };
  return (
    <nav class="views" aria-label="Views">
      {[...builtIn, ...own].map((v) => (
        <A key={v.name} to={"jobs" + (v.query && "?" + v.query)} aria-current={normal(v.query) === now ? "page" : undefined}>{v.name}</A>
      ))}
      {here && <button class="quiet" onClick={() => views.set(own.filter((v) => v !== here))}>Forget this view</button>}
      {!known && !naming && <button class="quiet" onClick={() => name(true)}>+ Keep this view</button>}
      {naming && <form onSubmit={keep}><input name="name" aria-label="Name of the view" placeholder="Name" maxLength={40} autofocus required onBlur={() => name(false)} /></form>}
    </nav>
  );
}

function Columns() {
  const hidden = useCell(hiddenColumns);
  return (
    <details class="menu">
      <summary>Columns</summary>
      <fieldset><legend>Columns</legend>{columns.filter((c) => c.name !== "job").map((c) => (
        <label key={c.name}><input type="checkbox" checked={!hidden.includes(c.name)}
          onChange={() => hiddenColumns.set(hidden.includes(c.name) ? hidden.filter((n) => n !== c.name) : [...hidden, c.name])} /> {c.title}</label>
      ))}</fieldset>
    </details>
  );
}
