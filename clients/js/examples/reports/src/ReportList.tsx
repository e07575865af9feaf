import type { State, Status } from "ackwire";
import { useAckwire, useJobs } from "ackwire/react";
import { useState, useSyncExternalStore, type ReactNode } from "react";
import { outbox } from "./client.js";
import { reports, type Report } from "./names.js";

/** My reports, newest first: those that wait in the outbox, then the jobs that the server has. */
export function ReportList() {
  const { jobs, loading, hasMore, error, loadMore } = useJobs({ mine: true, type: "report.generate", limit: 20 });
  const pending = useSyncExternalStore(outbox.pending().subscribe, outbox.pending().snapshot);
  const names = useSyncExternalStore(reports.subscribe, reports.snapshot);

  return (
    <section className="card list">
      <h2>My reports</h2>
      {error && <p className="error" role="alert">The list is not up to date: {error.message}</p>}
      {!loading && !jobs.length && !pending.length && (
        <p className="empty">There is none yet. Create the first one above.</p>
      )}
      <ul>
        {pending.toReversed().map(({ key, payload, createdAt, error }) => (
          <Row key={key} report={payload as Report} time={createdAt} state="saved"
            label={error ? "Refused" : "On this device"} note={error?.message ?? "Sent when the network is back"}>
            <button className="quiet" onClick={() => void outbox.discard(key)}>Discard</button>
          </Row>
        ))}
        {jobs.map((job) => <JobRow key={job.jobId} job={job} report={names.get(job.jobId)} />)}
      </ul>
      {loading && <p className="empty">Loading…</p>}
      {hasMore && <button className="quiet more" onClick={() => void loadMore().catch(() => {})}>Older reports</button>}
    </section>
  );
}

const ended: readonly State[] = ["completed", "failed", "cancelled"];
const labels: Record<State, string> = {
  pending: "Waiting", scheduled: "Scheduled", queued: "Waiting", processing: "Working", retrying: "Trying again",
  completed: "Done", failed: "Failed", cancelled: "Cancelled",
};

/** A job, with what can be done with it. */
function JobRow({ job, report }: { job: Status; report: Report | undefined }) {
  const client = useAckwire();
  const [problem, setProblem] = useState("");
  const order = (run: () => Promise<unknown>) => () => {
    setProblem("");
    run().catch((error: Error) => setProblem(error.message));
  };
  const { jobId, state, progress } = job;
  const over = ended.includes(state);
  return (
    <Row report={report} time={Date.parse(job.createdAt)} state={state} label={labels[state]}
      note={problem || describe(job)} percent={over ? undefined : (progress?.percent ?? 0)}>
      {job.resultUrl && <a className="button" href={job.resultUrl} download>Download</a>}
      {(state === "failed" || state === "cancelled") && (
        <button className="quiet" onClick={order(() => client.retry(jobId))}>Retry</button>
      )}
      {!over && (
        <button className="quiet" disabled={job.cancelRequested} onClick={order(() => client.cancel(jobId))}>
          Cancel
        </button>
      )}
    </Row>
  );
}

/** Says in a few words how a job stands. */
function describe({ state, progress, error, cancelRequested, result, attempt }: Status): string {
  if (state === "completed") return `${(result as { rows?: number } | undefined)?.rows ?? 0} rows`;
  if (state === "failed" || state === "retrying") return error?.message ?? error?.code ?? "";
  if (cancelRequested) return state === "cancelled" ? "" : "Cancelling…";
  if (state !== "processing") return "";
  return (attempt > 1 ? `Attempt ${attempt}: ` : "") + (progress?.message ?? "Starting");
}

const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });

/** The period of a report; one that makes no sense as it was written. */
function period({ from, to }: Report): string {
  return from <= to ? date.formatRange(Date.parse(from), Date.parse(to)) : `${from} to ${to}`;
}

/** One line of the list. */
function Row({ report, time, state, label, note, percent, children }: {
  report: Report | undefined; time: number; state: State | "saved"; label: string; note: string;
  percent?: number | undefined; children: ReactNode;
}) {
  return (
    <li className={state} data-state={state}>
      <div className="what">
        <strong>{report?.reportType ?? "Report"}</strong>
        <span>{report ? period(report) : "Submitted elsewhere"}</span>
      </div>
      <div className="how">
        <div><span className="pill">{label}</span><span className="note" title={note}>{note}</span></div>
        {percent !== undefined && <progress max={100} value={percent} aria-label="Progress" />}
      </div>
      <time dateTime={new Date(time).toISOString()}>{clock.format(time)}</time>
      <div className="actions">{children}</div>
    </li>
  );
}
