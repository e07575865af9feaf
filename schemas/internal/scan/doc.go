// Package scan finds the ends of JSON values. It knows a subset of strict JSON (RFC 7493), which nearly all messages
// keep to: what it accepts, every parser reads in the same way. What it does not accept may be valid all the same, and
// is left to encoding/json.
package scan
