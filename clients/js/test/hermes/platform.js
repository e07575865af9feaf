// What React Native adds to the engine and this client uses: microtasks, a clearTimeout that takes undefined, and
// AbortController as its polyfill has it, without reasons.

globalThis.queueMicrotask = function (run) {
  Promise.resolve().then(run);
};

var clear = globalThis.clearTimeout;
globalThis.clearTimeout = function (timer) {
  if (timer !== undefined) clear(timer);
};

globalThis.AbortController = function () {
  var listeners = [];
  var signal = {
    aborted: false,
    addEventListener: function (_, listener) {
      listeners.push(listener);
    },
    removeEventListener: function (_, listener) {
      listeners = listeners.filter(function (other) {
        return other !== listener;
      });
    },
  };
  this.signal = signal;
  this.abort = function () {
    if (signal.aborted) return;
    signal.aborted = true;
    listeners.forEach(function (listener) {
      listener();
    });
  };
};
