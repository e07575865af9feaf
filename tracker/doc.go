// Package tracker is the service that keeps the state of every job: it folds the events of the topic
// status into job documents, runs their timers, and answers gateways. See DESIGN.md.
package tracker
