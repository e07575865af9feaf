// Package processor runs jobs. A program registers a handler per job type and calls Run:
//
//	w, err := processor.New(processor.Config{Brokers: []string{"kafka:9092"}, Lanes: []string{"default"}})
//	processor.Handle(w, "mail.send", sendMail)
//	err = w.Run(ctx)
//
// A worker takes a request from Kafka and appends a claim to the job's log. Once the claim is durable the request's
// offset is committed, and the run holds the job by a lease that it renews: it goes on even if the partition moves to
// another worker. Execution is at least once; exactly one outcome is recorded.
//
// The lease is measured with this process's monotonic clock, which stops while a machine is suspended. A handler
// whose side effects must not happen after its lease has ended passes Job.Dispatch and Job.Run to the store that it
// changes, as a fencing token.
package processor
