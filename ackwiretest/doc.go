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
// A job type with a handler ([Server.Handle], [Handle]) is worked on at once. The jobs of all other types wait until
// the test takes one with [Server.Next] and says what becomes of it: [Job.Progress], [Job.Complete], [Job.Fail],
// [Job.FailAttempt].
//
// # What can go wrong
//
// [Server.Cut] loses all connections, [Server.Down] and [Server.Up] the whole server; [Server.Goaway] announces a
// restart and [Server.CloseSockets] closes with a code. [Server.Refuse] refuses submits, [Server.LoseAcks] takes them
// and says nothing, and [Server.DelayAcks] takes its time. [Server.RequireToken] and [Server.Types] refuse what a
// real server would.
//
// # In a bubble
//
// A server that is made inside a testing/synctest bubble works there, with the bubble's clock: a job that is
// scheduled for tomorrow, a retry's backoff and a reconnect cost no time. Use [Server.Dial] or [Server.Option] then,
// whose connections stay in memory, and make the server with [New] inside the bubble, or Close it there. The server
// pings its sockets, so a bubble with an open client never counts as deadlocked: bound what waits with a context.
//
// # What it is not
//
// There is one tenant and one subject. Payloads are not held to a schema, no webhook is sent (a job's deliveries are
// an empty list), nothing is limited but the size of a frame, and jobs are kept until [Server.Expire]. What ackwire's
// client sees otherwise is the same as of a real server; a test of the project runs the same calls against both.
package ackwiretest
