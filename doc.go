// Package ackwire is the Go client of Ackwire: it submits jobs, has a durable ack for each within milliseconds, and
// follows jobs to their end across any number of lost connections, on any gateway.
//
//	client, err := ackwire.Dial(ctx, "wss://jobs.example", ackwire.WithToken(token))
//	job, err := client.Submit(ctx, "mail.send", mail)          // durable
//	for status, err := range client.Job(id).Watch(ctx) { … }   // any job, by its ID
//	for chunk, err := range job.Stream(ctx, "tokens") { … }    // what it writes while it runs
//
// [Dial] opens one WebSocket (subprotocol ackwire.v1) and keeps it open: after a lost connection it reconnects with
// jittered backoff, resumes every watch behind the last version seen, and repeats the requests that are safe to repeat.
// [NewHTTP] makes a client for programs that keep no connection open: it has the same methods, over plain HTTP. Both
// are safe for concurrent use.
//
// A [Job] is a handle: Submit returns one, and Job makes one from an ID. [Type] declares a job type with the Go types
// of its payload and result, for the programs that submit its jobs and for the workers. Package ackwiretest is an
// Ackwire in memory, for tests.
//
// # Guarantees
//
//   - Submit returns a [Job] once the job is durable. Any other outcome is an error that says which: refused
//     ([*Error], nothing was written), or not known ([ErrIndeterminate]). The client repeats a submit whose
//     outcome is not known until it is, or the context ends ([Key], [NoKey]).
//   - The versions that a watch yields strictly rise, and its last one is terminal. A slow reader sees the latest
//     state and skips those in between: the memory of a watch is one document.
//   - A stream ([Job.Stream]) is read as an exact continuation, across connections; if the run that wrote it is lost,
//     the reader is told that what it has is void. The memory of a reader is bounded, however slow it is.
//   - Every error from the server is an [*Error] with a documented code (package schemas/code) that says whether to
//     try again.
//   - [Client.Close] returns when every goroutine of the client has ended.
package ackwire
