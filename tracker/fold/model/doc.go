// Package model explores every course that the life of one job can take, with the real
// fold.Fold and fold.NextDebt as the rules.
//
// The model is one partition of status with one job ID in it, a topic of requests, and all
// who write to them: gateways that submit the same key, cancel and retry; workers that
// claim, beat, end, release, crash and lose their partition; trackers that fold behind the
// log's end, restart from a stale checkpoint, or go on as zombies. Whatever is produced may
// land late, twice or never. There is no clock: a timer may fire at any moment at which its
// owner's own, possibly stale, fold owes it.
//
// Explore walks breadth first through all states that a Config allows, merges those that
// differ only in the names of runs, workers and trackers, and reports the shortest course
// to a state that breaks a promise. It also finds acked jobs that cannot end any more: from
// each state it must be possible to end the job without a further fault.
//
// A rule can be taken out (see Rule), which shows that the exploration would have noticed:
// each must then lead to a broken promise. The TLA+ model that the rules come from
// works the same way, with a fold of its own; this one cannot drift from the code.
package model
