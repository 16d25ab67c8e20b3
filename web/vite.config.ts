import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../parley/service/web/app",
    emptyOutDir: true,
    assetsInlineLimit: 0, // a data: script or style would break the Content-Security-Policy
    modulePreload: { polyfill: false },
    target: "es2023",
    license: { fileName: "licenses.md" },
  },
  server: {
    // `npm run dev` beside a running `parley serve`
    proxy: Object.fromEntries(["/api", "/assets", "/login", "/logout"].map((path) => [path, "http://127.0.0.1:8000"])),
  },
});
