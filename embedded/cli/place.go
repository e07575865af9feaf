package cli

import (
	"fmt"
	"time"

	"github.com/ackwire/ackwire"
)

// placeText returns a line about the jobs before a new one; empty if none is known to wait.
func placeText(a *ackwire.Ack) string {
	if a.Ahead == nil || *a.Ahead <= 0 {
		return ""
	}
	jobs := fmt.Sprintf("%d jobs are ahead", *a.Ahead)
	if *a.Ahead == 1 {
		jobs = "1 job is ahead"
	}
	if a.Estimate == nil {
		return jobs
	}
	d := *a.Estimate
	switch {
	case d < time.Second:
		return jobs + ", less than a second until it starts"
	case d < time.Minute:
		d = d.Round(time.Second)
	case d < time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Hour)
	}
	return fmt.Sprintf("%s, about %s until it starts", jobs, short(d))
}

// short writes a duration without its units that are 0, as in 3s, 2m or 5h.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%dh", d/time.Hour)
}

// inSeconds returns a duration as it is written in JSON.
func inSeconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.Seconds()
	return &s
}
