import type { Job } from "ackwire";
import { useJob, useStream, useSubmit } from "ackwire/react";
import { useState } from "react";

/** A text that appears while a job writes it: the job's stream `tokens`. */
export function Story() {
  const [submit, pending, problem] = useSubmit("demo.write");
  const [job, setJob] = useState<Job<"demo.write">>();
  const { text, end, error } = useStream(job, "tokens");
  const { status } = useJob(job);
  const writes = !!job && !end && !error;

  const write = () => {
    submit({ words: 90, rate: 25 }).then(setJob, () => {}); // `problem` says it
  };

  return (
    <section className="card story">
      <h2>
        A text, while it is written
        {writes
          ? <button className="quiet" onClick={() => void job.cancel().catch(() => {})}>Stop</button>
          : <button className="quiet" disabled={pending > 0} onClick={write}>{job ? "Write another" : "Write one"}</button>}
      </h2>
      <p className={writes ? "text writes" : "text"} data-testid="story" data-state={status?.state} aria-live="polite">
        {text || (job ? "" : "A worker writes, and each word is here at once. Cut the network meanwhile: none is lost.")}
      </p>
      {(problem ?? error) && <p className="error" role="alert">{(problem ?? error)!.message}</p>}
    </section>
  );
}
