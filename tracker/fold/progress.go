package fold

import (
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
)

// Shown returns a worker's report as a document shows it that had no progress before.
func Shown(p job.Progress) *job.Progress { return progressed(nil, p) }

// progressed returns the progress that follows was, which may be nil, when a worker reports now. It replaces was as a
// whole, but for the percent, which does not fall. The event counts whatever it says, since it renews the lease: a
// message that is too long is cut, and a stage or data that is not valid, of which a part would be another value, is
// left out and named in Omitted.
func progressed(was *job.Progress, now job.Progress) *job.Progress {
	now.Message = text.Clip(now.Message, maxMessage)
	if was != nil {
		now.Percent = max(now.Percent, was.Percent)
	}
	now.Omitted = nil
	if now.Stage != "" && !job.ValidStage(now.Stage) {
		now.Stage, now.Omitted = "", append(now.Omitted, job.OmittedStage)
	}
	if len(now.Data) == 0 {
		now.Data = nil
		return &now
	}
	data, err := job.CompactProgressData(now.Data)
	if err != nil {
		now.Omitted = append(now.Omitted, job.OmittedData)
	}
	now.Data = data // nil after an error
	return &now
}
