// Package external runs handlers that are written in any language: an HTTP endpoint
// (Endpoint) or a command (Command). Both report on a run with the same JSON messages: progress, a
// result or an error.
package external
