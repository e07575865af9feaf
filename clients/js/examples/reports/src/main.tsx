import { AckwireProvider } from "ackwire/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.js";
import { client } from "./client.js";
import "./style.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <AckwireProvider client={client}>
      <App />
    </AckwireProvider>
  </StrictMode>,
);

// The service worker opens the page without a network. It exists in a build only.
if (import.meta.env.PROD && "serviceWorker" in navigator) void navigator.serviceWorker.register("worker.js");
