// Package bulkjob does bulk actions: retry, cancel or erase all jobs that match a filter.
//
// A bulk action is a job of its own, of the type ackwire.bulk on the lane ackwire-bulk. Its payload, which the gateway
// makes when it takes the order, has who ordered it and the plan: the ID and the round of each job. So what is done is
// what was counted, whatever changes meanwhile.
//
// A gateway runs the job as a worker of the lane. It goes through the plan page by page, and does to each job what the
// caller could have done with a single order. The order names the round, so the fold takes it at most once. After each
// page it reports, as the data of its progress, what became of all jobs so far, and goes on only when the tracker has
// that in the job's document. A worker that takes over reads the last such report from the job's history: it does
// nothing to jobs before that place, and of the page behind it, which the former worker may have begun, it finds out
// what was done already.
package bulkjob
