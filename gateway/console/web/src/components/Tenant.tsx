// The tenant whose jobs are listed and counted, for those who may see all tenants.

import { session, type Me } from "../api.js";
import { useCell } from "../state.js";

export function TenantField({ value, set }: { value: string; set(tenant: string): void }) {
  const me = (useCell(session) as { me: Me }).me;
  if (!me.permissions.includes("operate")) return null;
  return (
    <label class="field tenant"><span>Tenant</span>
      <input value={value} placeholder={me.tenant} spellcheck={false} autocomplete="off" onChange={(event) => set(event.currentTarget.value.trim())} />
    </label>
  );
}
