// The console: the page that is shown for the path, once the gateway has said who the user is.

import { render } from "preact";
import { useEffect } from "preact/hooks";
import { begin, session } from "./api.js";
import { Dialogs } from "./components/Confirm.js";
import { Empty } from "./components/basics.js";
import { Frame } from "./components/Frame.js";
import { Toasts } from "./components/Toasts.js";
import { AuditPage } from "./pages/audit.js";
import { DeadPage, LetterPage } from "./pages/dead.js";
import { JobPage } from "./pages/job.js";
import { JobsPage } from "./pages/jobs.js";
import { Login, Starting } from "./pages/login.js";
import { Overview } from "./pages/overview.js";
import { TypePage, TypesPage } from "./pages/types.js";
import { WebhooksPage } from "./pages/webhooks.js";
import { WorkersPage } from "./pages/workers.js";
import { route, type Route } from "./router.js";
import { useCell } from "./state.js";

const titles: Record<Route["page"], string> = {
  overview: "Overview", jobs: "Jobs", job: "Job", workers: "Workers", types: "Job types", type: "Job type", dead: "Dead letters",
  letter: "Dead letter", webhooks: "Webhooks", audit: "Audit", unknown: "Not found",
};

function Page({ at }: { at: Route }) {
  switch (at.page) {
    case "overview":
      return <Overview query={at.query} />;
    case "jobs":
      return <JobsPage query={at.query} />;
    case "job":
      return <JobPage key={at.id} id={at.id} />;
    case "workers":
      return <WorkersPage />;
    case "types":
      return <TypesPage />;
    case "type":
      return <TypePage key={at.id + at.query} name={at.id} query={at.query} />;
    case "dead":
      return <DeadPage query={at.query} />;
    case "letter":
      return <LetterPage key={at.id} id={at.id} />;
    case "webhooks":
      return <WebhooksPage query={at.query} />;
    case "audit":
      return <AuditPage query={at.query} />;
    case "unknown":
      return <Empty title="There is no such page">Choose one above.</Empty>;
  }
}

function App() {
  const at = useCell(route);
  const now = useCell(session);
  useEffect(() => {
    document.title = `${titles[at.page]}${at.id && " " + at.id.slice(-6)} · Ackwire console`;
  }, [at.page, at.id]);
  if (now.kind === "login") return <Login why={now.why} provider={now.provider} />;
  if (now.kind !== "in") return <Starting session={now} />;
  return (
    <>
      <Frame session={now} route={at}><Page at={at} /></Frame>
      <Toasts />
      <Dialogs />
    </>
  );
}

void begin();
render(<App />, document.getElementById("app")!);
