// Package ackwire is the Go client of Ackwire: it submits jobs, holds the durable
// ack of each within milliseconds, and follows jobs to their end across any number of
// lost connections, on any gateway.
//
// [Dial] opens one WebSocket (subprotocol ackwire.v1) and keeps it open: after a
// loss it comes back with jittered backoff, resumes every watch from the last version
// seen, and sends again what is safe to send again. A [Client] is safe for concurrent
// use and needs a [Client.Close].
//
// # What is promised
//
//   - [Client.Submit] returns a [Job] once the job is durable. Any other outcome is
//     an error that says which: refused ([*Error], nothing was written), or not known
//     ([ErrIndeterminate]). A submit with a [Key] is repeated by the client instead.
//   - The versions that a watch yields strictly rise, and its last one is terminal.
//     A slow reader sees the latest state and skips those in between: the memory of a
//     watch is one document.
//   - Every error from the server is an [*Error] with a documented code (package
//     schemas/code) that says whether to try again.
//   - [Client.Close] returns when every goroutine of the client has ended.
package ackwire
