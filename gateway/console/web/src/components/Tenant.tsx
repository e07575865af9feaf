// The tenant whose jobs are listed and counted, for those who may see all tenants.

import { session, type Me } from "../api.js";
import { useCell } from "../state.js";
import { Input } from "./Input.js";

export function TenantField({ value, set }: { value: string; set(tenant: string): void }) {
  const me = (useCell(session) as { me: Me }).me;
  if (!me.permissions.includes("operate")) return null;
  return (
    <label class="field tenant"><span>Tenant</span>
      <Input value={value} placeholder={me.tenant} set={set} />
    </label>
  );
}
