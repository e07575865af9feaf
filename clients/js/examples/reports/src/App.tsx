import { useConnection } from "ackwire/react";
import { useSyncExternalStore } from "react";
import { network, outbox } from "./client.js";
import { NewReport } from "./NewReport.js";
import { ReportList } from "./ReportList.js";
import { Story } from "./Story.js";

export function App() {
  return (
    <>
      <header>
        <div>
          <h1>Reports</h1>
          <ConnectionState />
        </div>
        <NetworkSwitch />
      </header>
      <main>
        <NewReport />
        <Offline />
        <ReportList />
        <Story />
      </main>
      <footer>
        Each report is a job of <a href="https://github.com/ackwire/ackwire">Ackwire</a>. Close this page, cut the
        network or stop the server: none is lost, and each stays one job.
      </footer>
    </>
  );
}

const words = { idle: "Idle", connecting: "Connecting…", open: "Live", waiting: "Offline", closed: "Closed" };

/** How the connection stands. A try that follows a failed one is still offline. */
function useStanding() {
  const { state, failures, error } = useConnection();
  return { state: state === "connecting" && failures ? "waiting" : state, error } as const;
}

function ConnectionState() {
  const { state, error } = useStanding();
  return <span className={`connection ${state}`} title={error?.message} data-testid="connection">{words[state]}</span>;
}

/** Cuts the network, for this page only, and restores it. */
function NetworkSwitch() {
  const works = useSyncExternalStore(network.subscribe, network.snapshot);
  return (
    <button className={works ? "quiet" : "restore"} onClick={network.toggle}>
      {works ? "Cut the network" : "Restore the network"}
    </button>
  );
}

/** Shows how many submits wait for the network. */
function Offline() {
  const kept = useSyncExternalStore(outbox.pending().subscribe, outbox.pending().snapshot);
  const pending = kept.filter((submit) => !submit.error).length;
  const { state } = useStanding();
  if (state === "open" || (state !== "waiting" && !pending)) return null;
  return (
    <p className="notice" role="status">
      <strong>Works offline.</strong> What you create is kept on this device and sent once, when the network is back.
      {pending > 0 && <span className="badge" data-testid="pending">{pending} to send</span>}
    </p>
  );
}
