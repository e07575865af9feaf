// Package ackwire is the Go client of Ackwire: it submits jobs, holds the durable ack of each within milliseconds,
// and follows jobs to their end across any number of lost connections, on any gateway.
//
//	client, err := ackwire.Dial(ctx, "wss://jobs.example", ackwire.WithToken(token))
//	job, err := client.Submit(ctx, "mail.send", mail)          // durable
//	for status, err := range client.Job(id).Watch(ctx) { … }   // any job, by its ID
//
// [Dial] opens one WebSocket (subprotocol ackwire.v1) and keeps it open: after a loss it comes back with jittered
// backoff, resumes every watch behind the last version seen, and sends again what is safe to send again. [NewHTTP]
// makes a client for programs that keep no connection: it has the same methods, over plain HTTP. Both are safe for
// concurrent use.
//
// A [Job] is a handle: Submit returns one, and Job makes one from an ID. [Type] declares a job type with the types of
// its payload and result, for those who submit and those who work. Package ackwiretest is an Ackwire in memory, for
// tests.
//
// # What is promised
//
//   - Submit returns a [Job] once the job is durable. Any other outcome is an error that says which: refused
//     ([*Error], nothing was written), or not known ([ErrIndeterminate]). A submit with a [Key] is repeated by the
//     client instead.
//   - The versions that a watch yields strictly rise, and its last one is terminal. A slow reader sees the latest
//     state and skips those in between: the memory of a watch is one document.
//   - Every error from the server is an [*Error] with a documented code (package schemas/code) that says whether to
//     try again.
//   - [Client.Close] returns when every goroutine of the client has ended.
package ackwire
