// The console's login by an identity provider, in a real browser: OpenID Connect's code flow with PKCE.

import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freeAddresses, serve, type System } from "./lib/process.js";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

let provider: Server;
let issuer: string;
let system: System;
let browser: Browser;
let base: string;
let deny = false; // the provider lets nobody in
let life = 3600; // of its tokens, in seconds
let refreshes = 0;
const codes = new Map<string, { challenge: string; redirect: string }>();

/** A token of the provider's. */
function token(): string {
  const now = Math.floor(Date.now() / 1000);
  const text = encode({ alg: "RS256", kid: "k" }) + "." + encode({
    iss: issuer, aud: "ackwire", sub: "olga", tenant: "acme", permissions: ["operate"], iat: now, exp: now + life,
  });
  return text + "." + sign("sha256", Buffer.from(text), privateKey).toString("base64url");
}

beforeAll(async () => {
  provider = createServer(async (q, r) => {
    const url = new URL(q.url!, issuer);
    const json = (value: unknown, status = 200) => r.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return json({ issuer, authorization_endpoint: issuer + "/authorize", token_endpoint: issuer + "/token", jwks_uri: issuer + "/keys" });
      case "/keys":
        return json({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", alg: "RS256", use: "sig" }] });
      case "/authorize": {
        const ask = url.searchParams;
        const code = randomUUID();
        codes.set(code, { challenge: ask.get("code_challenge")!, redirect: ask.get("redirect_uri")! });
        const back = new URL(ask.get("redirect_uri")!);
        back.searchParams.set("state", ask.get("state")!);
        if (deny) back.searchParams.set("error", "access_denied");
        else back.searchParams.set("code", code);
        return r.writeHead(302, { Location: back.href }).end();
      }
      case "/token": {
        let body = "";
        for await (const piece of q) body += piece;
        const ask = new URLSearchParams(body);
        if (ask.get("grant_type") === "refresh_token") {
          refreshes++;
          return json({ access_token: token(), refresh_token: "another", token_type: "Bearer", expires_in: life });
        }
        const known = codes.get(ask.get("code")!);
        codes.delete(ask.get("code")!);
        const right = known?.redirect === ask.get("redirect_uri") &&
          createHash("sha256").update(ask.get("code_verifier")!).digest("base64url") === known?.challenge;
        if (!right) return json({ error: "invalid_grant" }, 400);
        return json({ access_token: token(), refresh_token: "one", token_type: "Bearer", expires_in: life });
      }
    }
    r.writeHead(404).end();
  });
  await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
  issuer = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
  const [listen] = (await freeAddresses(1)) as [string];
  system = await serve("--jwks-url", issuer + "/keys", "--jwt-issuer", issuer, "--console-listen", listen,
    "--console-oidc-issuer", issuer, "--console-oidc-client-id", "console");
  base = `http://${listen}/console/`;
  browser = await chromium.launch({
    executablePath: process.env["ACKWIRE_CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
});
afterAll(async () => {
  await browser?.close();
  await system?.stop();
  provider?.closeAllConnections();
  provider?.close();
});

test("an operator logs in at the provider, comes back to the page, and nothing is kept", async () => {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !/status of 401/.test(message.text()) && complaints.push(message.text()));
  await page.goto(base + "jobs?state=failed");
  await page.getByRole("button", { name: "Log in with " + issuer.slice("http://".length) }).click();
  await page.waitForSelector("text=No job matches");
  expect(page.url()).toBe(base + "jobs?state=failed");
  await page.waitForSelector("text=Live");
  expect(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie])).toEqual([0, 0, ""]);
  expect(await page.context().cookies()).toEqual([]);
  expect(complaints).toEqual([]);
  await page.reload(); // the token was in memory only
  await page.getByRole("button", { name: /^Log in with/ }).waitFor();
  await page.getByText("Use an access token instead").click();
  await page.getByLabel("Access token").fill(token());
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=No job matches");
  await page.context().close();
});

test("who is not let in, or comes with the answer to another login, is told so", async () => {
  const page = await browser.newPage();
  deny = true;
  await page.goto(base);
  await page.getByRole("button", { name: /^Log in with/ }).click();
  await page.getByRole("alert").getByText("The provider did not let you in: access_denied").waitFor();
  deny = false;
  await page.goto(base + "callback?code=x&state=y");
  await page.getByRole("alert").getByText("log in again").waitFor();
  expect(page.url()).toBe(base);
  await page.getByRole("button", { name: /^Log in with/ }).click();
  await page.waitForSelector("text=Lanes");
  await page.context().close();
});

test("an open page goes on when its token expires", async () => {
  life = 20;
  refreshes = 0;
  const page = await browser.newPage();
  await page.goto(base + "jobs");
  await page.getByRole("button", { name: /^Log in with/ }).click();
  await page.waitForSelector("text=Live");
  await expect.poll(() => refreshes, { timeout: 60_000 }).toBeGreaterThan(1);
  await page.waitForSelector("text=Live");
  expect(await page.getByRole("button", { name: /^Log in with/ }).count()).toBe(0);
  life = 3600;
  await page.context().close();
}, 90_000);
