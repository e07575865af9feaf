// Package model is a model checker for the life of one job. It uses the real fold.Fold and
// fold.NextDebt as the rules.
//
// The model has one partition of status with one job ID in it, a topic of requests, and the
// programs that write to them: gateways that submit the same key, cancel and retry; workers that
// claim, beat, end, release, crash and lose their partition; trackers that fold behind the
// log's end, restart from a stale checkpoint, or go on as zombies. A produced record may land
// late, twice or never. There is no clock: a timer may fire whenever the job in its owner's
// possibly stale fold has it.
//
// Explore walks breadth first through all states that a Config allows, merges states that
// differ only in the names of runs, workers and trackers, and reports the shortest course
// to a state that breaks a promise. It also finds acked jobs that cannot end any more: from
// each state it must be possible to end the job without a further fault.
//
// A test takes out one rule after the other (see Rule): the exploration must then find a broken
// promise, which shows that it would notice. The rules come from a TLA+ model that works the same
// way with a fold of its own; this one uses the code's, so the two cannot drift apart.
package model
