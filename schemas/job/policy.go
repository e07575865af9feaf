package job

import "fmt"

// Bounds of a Policy.
const (
	MaxAttempts      = 1000
	MaxBackoffFactor = 100
)

// Policy is the set of rules with which a job was created. It is part of the job's request and of its accepted event,
// so that workers and trackers do not need the job types file, and a job keeps its rules when the file changes.
// Durations are encoded in seconds.
type Policy struct {
	// Attempts is the number of attempts that a job may have; 1 to MaxAttempts.
	Attempts int     `json:"attempts"`
	Backoff  Backoff `json:"backoff"`
	// Lease is how long a run holds the job after its last claim, beat or progress event.
	Lease Seconds `json:"lease"`
	// Timeout bounds one attempt; 0 means no bound.
	Timeout Seconds `json:"timeout,omitempty"`
	// Deadline bounds the whole job from its acceptance on; 0 means no bound.
	Deadline Seconds `json:"deadline,omitempty"`
	// Grace is how long a cancelled handler may take to end; after that the job is cancelled without it.
	Grace Seconds `json:"grace"`
	// Retention is how long the job stays readable after it has ended.
	Retention Seconds `json:"retention"`
}

// Backoff is the wait before the next attempt: min(Cap, Initial × Factor^(n-1))
// before the n-th retry, with full jitter. A Factor below 1 counts as 1; a Cap of 0 means no cap.
type Backoff struct {
	Initial Seconds `json:"initial"` // before the first retry
	Factor  float64 `json:"factor"`  // ratio of each wait to the one before
	Cap     Seconds `json:"cap"`     // the longest wait
}

// Validate checks the bounds that every reader of a policy relies on. Every duration may be 0.
func (p *Policy) Validate() error {
	if p.Attempts < 1 || p.Attempts > MaxAttempts {
		return fmt.Errorf("attempts must be 1 to %d, not %d", MaxAttempts, p.Attempts)
	}
	if !(p.Backoff.Factor >= 0 && p.Backoff.Factor <= MaxBackoffFactor) { // refuses NaN too
		return fmt.Errorf("backoff factor must be 0 to %d, not %v", MaxBackoffFactor, p.Backoff.Factor)
	}
	for _, d := range []struct {
		name  string
		value Seconds
	}{
		{"backoff initial", p.Backoff.Initial}, {"backoff cap", p.Backoff.Cap}, {"lease", p.Lease},
		{"timeout", p.Timeout}, {"deadline", p.Deadline}, {"grace", p.Grace}, {"retention", p.Retention},
	} {
		if err := d.value.Validate(); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}
