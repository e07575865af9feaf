// Package bridge gives packages below processor access to internals of a processor: processortest runs a handler as a
// processor would, and webhook registers metrics in the processor's registry. Package processor sets the functions; p
// is always a *processor.Processor.
package bridge
