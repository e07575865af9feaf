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
