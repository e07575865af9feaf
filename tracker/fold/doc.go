// Package fold holds the rules of a job's life. Fold takes a job and an event and returns the job
// afterwards, and orders for the worker. It is pure: no clock, no I/O, no configuration, no randomness, so
// every program that folds the same log has the same job. RULES.md says which event is taken when, and
// why each rule is needed.
package fold
