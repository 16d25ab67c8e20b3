import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "../../parley/service/web/tokens.css";
import "./shared/base.css";
import "./shared/shell.css";
import { App } from "./app";
import { createQueries } from "./shared/query";
import { comeBack } from "./shared/return";

const root = document.getElementById("root");
if (!root) throw new Error("the page has no #root");
comeBack();
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={createQueries()}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
