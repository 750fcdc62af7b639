/** The service worker: the page works without a network, and threads on any file server. */

const TRIED = "astr-isolated";

/** busy: whether a reload would lose something. */
export function keepOffline(busy: () => boolean): void {
  if (!("serviceWorker" in navigator) || !import.meta.env.PROD) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    // A server without the headers for threads: from now on the service worker adds them.
    if (self.crossOriginIsolated || busy() || sessionStorage.getItem(TRIED)) return;
    sessionStorage.setItem(TRIED, "yes");
    location.reload();
  });
  navigator.serviceWorker.register("./sw.js").catch(() => {
    // Such as in a private window. The page works, with a network.
  });
}
