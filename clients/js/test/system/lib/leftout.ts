// Tests of the conformance suite that are left out, and why. Those of subscriptions, which are webhooks between streams, the
// suite leaves out itself unless they are asked for.

const forks = "a stream is a job's: it has no forks";
const ttl = "a stream lives as long as its job's records: that is the job type's to say, and a TTL is refused";
const bytes = "a stream is a text or a list of JSON values: bytes are refused";
const charset = "the type of a text is text/plain; charset=utf-8, and the test wants it without the charset";
const early = "readers learn a stream's kind with what is first written to it: until then it is an empty text";

/** A group, or one of its tests, and the reason. Groups within the group are meant, too. */
export const leftOut: readonly (readonly [group: string, test: string | undefined, reason: string])[] = [
  ["Fork - Creation", undefined, forks],
  ["Fork - Reading", undefined, forks],
  ["Fork - Appending", undefined, forks],
  ["Fork - Recursive", undefined, forks],
  ["Fork - Live Modes", undefined, forks],
  ["Fork - Deletion and Lifecycle", undefined, forks],
  ["Fork - TTL and Expiry", undefined, forks],
  ["Fork - JSON Mode", undefined, forks],
  ["Fork - Edge Cases", undefined, forks],

  ["TTL and Expiry Validation", undefined, ttl],
  ["TTL and Expiry Edge Cases", undefined, ttl],
  ["TTL Expiration Behavior", undefined, ttl],
  ["HEAD Metadata Edge Cases", undefined, ttl],

  ["HTTP Protocol", "should return correct headers on PUT", charset],
  ["HTTP Protocol", "should return correct headers on GET", charset],
  ["HEAD Metadata", "should return metadata without body", charset],

  ["JSON Mode", "should allow PUT with empty array body (creates empty stream)", early],

  ["Browser Security Headers", "should include Cross-Origin-Resource-Policy header on GET responses", bytes],
  ["Protocol Edge Cases", "should handle binary data with integrity", bytes],
  ["Chunking and Large Payloads", "should handle chunk-size pagination correctly", bytes],
  ["Chunking and Large Payloads", "should handle large payload appropriately", bytes],
  ["SSE Mode", "base64 SSE catch-up pairs every data event with a control event", bytes],
  ["SSE Mode", "should auto-detect binary streams and return base64 encoded data in SSE mode", bytes],
  ["SSE Mode", "should include Stream-SSE-Data-Encoding header for binary streams", bytes],
  ["SSE Mode", "should base64 encode data events only, control events remain JSON", bytes],
  ["SSE Mode", "should handle empty binary payload with auto-detected base64 encoding", bytes],
  ["SSE Mode", "should handle large binary payload with auto-detected base64 encoding", bytes],
  ["SSE Mode", "should handle binary data with special bytes using auto-detected base64 encoding", bytes],
  ["SSE Mode", "should auto-detect base64 encoding for application/x-protobuf streams", bytes],
  ["SSE Mode", "should auto-detect base64 encoding for image/png streams", bytes],
  ["SSE Mode", "should handle offset=now with auto-detected base64 encoding for binary streams", bytes],
  ["Byte-Exactness Property", undefined, bytes],
  ["Operation Sequence Properties", undefined, bytes],
  ["Immutability Properties", undefined, bytes],
  ["State Hash Verification", undefined, bytes],
];
