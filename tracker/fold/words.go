package fold

// words say for people why an event changed nothing.
var words = map[Reason]string{
	Old:            "It was folded before.",
	Duplicate:      "The job was there already, with the same payload.",
	Conflict:       "The job was there already, with another payload.",
	UnknownJob:     "There was no such job.",
	Ended:          "The job had ended.",
	NotEnded:       "The job had not ended.",
	NotHeld:        "No run held the job, or it did not wait for this.",
	WrongRun:       "Another run held the job.",
	OldDispatch:    "The job had been handed out again since: the run was given up.",
	FutureDispatch: "The job was never handed out so often: the log has lost records.",
	WrongRequest:   "The run took another request than the one that the job waited with.",
	StaleRenewal:   "The run had renewed its lease since.",
	WrongRound:     "It was meant for the job before it was retried.",
	NotRequested:   "Nobody had asked to cancel the job.",
	NotDue:         "The job's retention was not over.",
	NotOwed:        "The webhook was queued already, or is outdated.",
	OtherLife:      "It was meant for another job that had this ID.",
	StaleRequest:   "The request was so old that its job may have expired.",
	Moved:          "New jobs are made under another topic prefix.",
	NoDocument:     "The job could not have been written as a document afterwards.",
}

// Words says in a sentence for people why an event changed nothing; it is empty for Taken.
func (r Reason) Words() string { return words[r] }
