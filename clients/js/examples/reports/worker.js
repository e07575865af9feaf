// The service worker: it keeps the files of the page, so that the page opens without a network.
//
// vite.config.ts writes the names of the build's files in here. These names contain hashes, so that each new build has
// a worker of its own, with its own cache. A new worker takes over once all pages of the old one are closed: until then
// they may load parts of the old build. A page that is opened or reloaded comes from the network whenever there is one,
// so that nobody stays with an old build.

const files = FILES; // of the build; "./" is the page
const cacheName = "reports-" + BUILD; // a hash of the files

self.addEventListener("install", (event) => {
  // "reload": the browser's own cache may have an old page, which names files that are gone.
  const requests = files.map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  const takeOver = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith("reports-") && name !== cacheName);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim(); // the first page was opened before there was a worker
  };
  event.waitUntil(takeOver());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || pathname.startsWith("/v1/")) return;
  // A server may answer "Vary: Origin", as Vite's does, and a page asks for its scripts with another origin header than
  // the worker did. The files are the same for everybody.
  const cached = (what) => caches.open(cacheName).then((cache) => cache.match(what, { ignoreVary: true }));
  event.respondWith(
    request.mode === "navigate"
      ? fetch(request).catch(async (error) => (await cached("./")) ?? Promise.reject(error))
      : cached(request).then((response) => response ?? fetch(request)),
  );
});
