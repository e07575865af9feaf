import { useSubmit } from "ackwire/react";
import type { FormEvent } from "react";
import { outbox } from "./client.js";
import type { Report } from "./names.js";

const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);

/** The form that submits a report. The submit goes through the outbox, so that it outlives the page. */
export function NewReport() {
  const [submit, , error] = useSubmit("report.generate", outbox);

  const create = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    submit(Object.fromEntries(fields) as unknown as Report).catch(() => {}); // `error` says it
  };

  return (
    <form className="card" onSubmit={create}>
      <label>
        Report
        <select name="reportType">
          <option value="sales">Sales</option>
          <option value="refunds">Refunds</option>
          <option value="inventory">Inventory</option>
        </select>
      </label>
      <label>From <input name="from" type="date" required defaultValue={day(30)} /></label>
      <label>To <input name="to" type="date" required defaultValue={day(0)} /></label>
      <button className="primary">Create report</button>
      {error && <p className="error" role="alert">{error.message}</p>}
    </form>
  );
}
