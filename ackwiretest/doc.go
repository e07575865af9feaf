// Package ackwiretest is an Ackwire in memory, for the tests of programs that use package ackwire. It speaks the real
// protocol (frames of ackwire.v1 and the HTTP API), so the program under test runs unchanged; no broker, no port
// and no other process is needed.
//
//	func TestOrder(t *testing.T) {
//		srv := ackwiretest.New(t)
//		srv.Handle("mail.send", func(ctx context.Context, j *ackwiretest.Job) (any, error) { return "sent", nil })
//		client := srv.Dial(t) // or ackwire.Dial(ctx, srv.URL(), srv.Option())
//		…
//	}
//
// # Who works on the jobs
//
// Jobs of a type with a handler ([Server.Handle], [Handle]) start at once. Jobs of all other types wait until the test
// takes one with [Server.Next] and decides its outcome with [Job.Progress], [Job.Complete], [Job.Fail] or
// [Job.FailAttempt].
//
// Both write streams with [Job.Stream] and [Job.Log]; clients follow them over sockets and HTTP. An attempt that fails
// and is tried again begins its streams anew, which clients see as a reset.
//
// # What can go wrong
//
// [Server.Cut] breaks all connections; [Server.Down] and [Server.Up] stop and start the whole server; [Server.Goaway]
// announces a restart and [Server.CloseSockets] closes with a code. [Server.Refuse] refuses submits, [Server.LoseAcks]
// accepts them without an ack, and [Server.DelayAcks] accepts them late. [Server.RequireToken], [Server.Types] and
// [Server.JobTypes] make the server check tokens, job types and payloads as a real one does.
//
// # In a bubble
//
// A server that is made inside a testing/synctest bubble works there, with the bubble's clock: a job that is
// scheduled for tomorrow, a retry's backoff and a reconnect cost no time. Use [Server.Dial] or [Server.Option] then,
// whose connections stay in memory, and make the server with [New] inside the bubble, or Close it there. The server
// pings its sockets, so a bubble with an open client never counts as deadlocked: give every wait a context with a
// deadline.
//
// # Limits
//
// There is one tenant and one subject, whose token permits everything but what is for operators. No webhook is sent (a
// job's deliveries are an empty list), a job's history is made from its changes of state (no event is ever refused, and
// beats are not told), a bulk action is done at once and skips nothing, GET /v1/workers has what [Server.ShowWorkers]
// has set, nothing is limited but the size of a frame, jobs are kept until [Server.Expire], and POST /v1/events (the
// frames of a socket as an event stream) is missing. Apart from that clients see the same as from a real server,
// including web pages and programs in other languages: there are event streams of one job, of several and of all,
// tickets, and grants that the server has made, which open and permit what they say until they end. Tests of the
// project make the same calls to both.
package ackwiretest
