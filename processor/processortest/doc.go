// Package processortest runs job handlers in tests, without Kafka and without a tracker. The handler is called as by a
// processor, and the test gets the event that the processor would append to the job's log.
package processortest
